/* SPDX-License-Identifier: Apache-2.0 */
#include "api/table.h"

#include <stdlib.h>

const struct handler_row handler_table[] = {
    {API_PRODUCE, handle_produce},
    {API_FETCH, handle_fetch},
    {API_LIST_OFFSETS, handle_list_offsets},
    {API_METADATA, handle_metadata},
    {API_OFFSET_COMMIT, handle_offset_commit},
    {API_OFFSET_FETCH, handle_offset_fetch},
    {API_FIND_COORDINATOR, handle_find_coordinator},
    {API_JOIN_GROUP, handle_join_group},
    {API_HEARTBEAT, handle_heartbeat},
    {API_LEAVE_GROUP, handle_leave_group},
    {API_SYNC_GROUP, handle_sync_group},
    {API_DESCRIBE_GROUPS, handle_describe_groups},
    {API_LIST_GROUPS, handle_list_groups},
    {API_SASL_HANDSHAKE, handle_sasl_handshake},
    {API_API_VERSIONS, handle_api_versions},
    {API_CREATE_TOPICS, handle_create_topics},
    {API_DELETE_TOPICS, handle_delete_topics},
    {API_DELETE_RECORDS, handle_delete_records},
    {API_INIT_PRODUCER_ID, handle_init_producer_id},
    {API_OFFSET_FOR_LEADER_EPOCH, handle_offset_for_leader_epoch},
    {API_DESCRIBE_ACLS, handle_describe_acls},
    {API_CREATE_ACLS, handle_create_acls},
    {API_DELETE_ACLS, handle_delete_acls},
    {API_DESCRIBE_CONFIGS, handle_describe_configs},
    {API_ALTER_CONFIGS, handle_alter_configs},
    {API_DESCRIBE_LOG_DIRS, handle_describe_log_dirs},
    {API_SASL_AUTHENTICATE, handle_sasl_authenticate},
    {API_CREATE_PARTITIONS, handle_create_partitions},
    {API_DELETE_GROUPS, handle_delete_groups},
    {API_ELECT_LEADERS, handle_elect_leaders},
    {API_INCREMENTAL_ALTER_CONFIGS, handle_incremental_alter_configs},
    {API_ALTER_PARTITION_REASSIGNMENTS, handle_alter_partition_reassignments},
    {API_LIST_PARTITION_REASSIGNMENTS, handle_list_partition_reassignments},
    {API_OFFSET_DELETE, handle_offset_delete},
    {API_DESCRIBE_USER_SCRAM_CREDENTIALS, handle_describe_user_scram_credentials},
    {API_ALTER_USER_SCRAM_CREDENTIALS, handle_alter_user_scram_credentials},
    {API_DESCRIBE_QUORUM, handle_describe_quorum},
    {API_UPDATE_FEATURES, handle_update_features},
    {API_DESCRIBE_CLUSTER, handle_describe_cluster},
    {API_DESCRIBE_PRODUCERS, handle_describe_producers},
    {API_UNREGISTER_BROKER, handle_unregister_broker},
    {API_DESCRIBE_TRANSACTIONS, handle_describe_transactions},
    {API_LIST_TRANSACTIONS, handle_list_transactions},
    {API_DESCRIBE_TOPIC_PARTITIONS, handle_describe_topic_partitions},
    {API_ATTACH_PARTITION, handle_attach_partition},
    {API_OPEN_SEGMENT, handle_open_segment},
    {API_DETACH_PARTITION, handle_detach_partition},
    {API_REPORT_STALL, handle_report_stall},
    {API_DAEMON_STATUS, handle_daemon_status},
    {API_COMPACT_TOPIC, handle_compact_topic},
};

const size_t handler_table_count = sizeof handler_table / sizeof handler_table[0];

static int
compare_key(const void *key, const void *row)
{
    return *(const int16_t *)key - ((const struct handler_row *)row)->key;
}

request_handler *
handler_find(int16_t key)
{
    const struct handler_row *row =
        bsearch(&key, handler_table, handler_table_count, sizeof handler_table[0], compare_key);
    return row ? row->handle : NULL;
}
