/* SPDX-License-Identifier: Apache-2.0
 * Which function answers which API; only what stands here is announced and served.
 */
#ifndef API_TABLE_H
#define API_TABLE_H

#include "api/request.h"

struct handler_row {
    int16_t key;
    request_handler *handle;
};

/** The rows, sorted by key; `handler_table_count` of them. */
extern const struct handler_row handler_table[];
extern const size_t handler_table_count;

/** The handler of a key; NULL when there is none. */
request_handler *handler_find(int16_t key);

/* The handlers; see request_handler. */
request_handler handle_alter_configs;
request_handler handle_alter_partition_reassignments;
request_handler handle_alter_user_scram_credentials;
request_handler handle_api_versions;
request_handler handle_attach_partition;
request_handler handle_compact_topic;
request_handler handle_create_acls;
request_handler handle_create_partitions;
request_handler handle_create_topics;
request_handler handle_daemon_status;
request_handler handle_delete_acls;
request_handler handle_delete_groups;
request_handler handle_delete_records;
request_handler handle_delete_topics;
request_handler handle_describe_acls;
request_handler handle_describe_cluster;
request_handler handle_describe_configs;
request_handler handle_describe_groups;
request_handler handle_describe_log_dirs;
request_handler handle_describe_producers;
request_handler handle_describe_quorum;
request_handler handle_describe_topic_partitions;
request_handler handle_describe_transactions;
request_handler handle_describe_user_scram_credentials;
request_handler handle_detach_partition;
request_handler handle_elect_leaders;
request_handler handle_fetch;
request_handler handle_find_coordinator;
request_handler handle_heartbeat;
request_handler handle_incremental_alter_configs;
request_handler handle_init_producer_id;
request_handler handle_join_group;
request_handler handle_leave_group;
request_handler handle_list_groups;
request_handler handle_list_offsets;
request_handler handle_list_partition_reassignments;
request_handler handle_list_transactions;
request_handler handle_metadata;
request_handler handle_offset_commit;
request_handler handle_offset_delete;
request_handler handle_offset_fetch;
request_handler handle_offset_for_leader_epoch;
request_handler handle_open_segment;
request_handler handle_produce;
request_handler handle_report_stall;
request_handler handle_sasl_authenticate;
request_handler handle_sasl_handshake;
request_handler handle_sync_group;
request_handler handle_unregister_broker;
request_handler handle_update_features;

#endif
