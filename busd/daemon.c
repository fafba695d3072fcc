/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "daemon.h"

#include "api/api.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/trace.h"
#include "cluster/controller.h"
#include "door/kafka.h"
#include "door/unix.h"
#include "folders.h"
#include "meta/meta.h"
#include "names.h"
#include "notify.h"
#include "run/loop.h"
#include "run/worker.h"
#include "store/store.h"
#include "upkeep.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    KEEPER_TICK_MS = 1000,   /* how often every log is looked after */
    KEEPER_AGAIN_MS = 5,     /* how soon after a pass that left work */
    WORKER_JOBS_MAX = 65536, /* one per waiting flush of a partition, or per deleted topic */
    SETTLE_MS = 2000,        /* how long the logs may take to be followed at the end */
    FAREWELL_MS = 1000,      /* how long answers may take to leave at the end */
    SWEEP_STEP_MS = 50,      /* between two partitions that a sweep opens */
};

struct daemon {
    struct config *config;
    int64_t start_ns;
    char data[CONFIG_PATH_BYTES_MAX];
    char socket[CONFIG_PATH_BYTES_MAX];
    struct loop *loop;
    struct store *store;
    struct meta *meta;
    struct controller controller;
    struct controller_listener listener;
    struct names names;
    struct api *api;
    struct hall *hall;
    struct unix_door *unix_door;
    struct kafka_door *kafka_door;
    struct loop_timer *api_timer;
    struct loop_signal *on_term, *on_int, *on_hup;
    struct worker *flusher;
    struct worker *remover; /* of the files of deleted topics */
    /* Any thread of the store kicks it; null until it runs. Release and acquire: whoever sees the
     * pointer sees the worker behind it. */
    struct worker *_Atomic keeper;
    struct worker *_Atomic cleaner; /* the same */
    struct upkeep upkeep;
    struct loop_timer *sweep_timer;
    struct api_sweep sweep;
    bool cleaner_modest; /* cleaner: its priority is low */
    int64_t serviced_ms; /* keeper: the last look at every log */
    bool flush_failed;   /* flusher: told already */
    bool backup_failed;  /* keeper: told already */
};

/** Settings in force: those set at run time above file and flags. */
static const struct settings *
in_force(const struct daemon *d)
{
    return &d->controller.cluster.settings;
}

static void
set_trace_level(const struct settings *settings)
{
    static const enum trace_level levels[] = {
        TRACE_ERROR, TRACE_WARNING, TRACE_NOTICE, TRACE_INFO, TRACE_DEBUG};
    trace_open(levels[settings_int(settings, BROKER_LOG_LEVEL)]);
}

/* ---- limits, folders, loop ------------------------------------------------------------------ */

static int
start_process(struct daemon *d)
{
    struct rlimit files;
    (void)d;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
        files.rlim_cur = files.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &files) < 0)
            trace(TRACE_WARNING, "raising the limit of open files: %s", strerror(errno));
    }
    signal(SIGPIPE, SIG_IGN);
    return 0;
}

static int
start_folders(struct daemon *d)
{
    int rc = config_data_folder(&d->config->settings, d->data);
    if (rc == 0)
        rc = config_socket_path(&d->config->settings, d->socket);
    if (rc == 0)
        rc = folders_make_data(d->data);
    return rc < 0 ? rc : folders_make_socket(d->socket);
}

static int
start_loop(struct daemon *d)
{
    return loop_new(&d->loop);
}

static void
stop_loop(struct daemon *d)
{
    loop_free(&d->loop);
}

/* ---- store and metadata --------------------------------------------------------------------- */

static int
load_checkpoint(void *context, const uint8_t topic_id[STORE_ID_BYTES], int32_t partition,
    struct store_checkpoint *checkpoint)
{
    struct daemon *d = context;
    int rc = meta_checkpoint_load(d->meta, topic_id, partition, checkpoint, sizeof *checkpoint);
    return rc == META_CHECKPOINT_NONE ? STORE_CHECKPOINT_NONE : rc;
}

enum { CHECKPOINTS_AT_ONCE = 256 };

static int
save_checkpoints(void *context, const struct store_checkpoint *checkpoints, size_t count)
{
    struct daemon *d = context;
    struct meta_checkpoint rows[CHECKPOINTS_AT_ONCE];
    int rc = 0;
    while (rc == 0 && count > 0) {
        size_t n = count < CHECKPOINTS_AT_ONCE ? count : CHECKPOINTS_AT_ONCE;
        for (size_t i = 0; i < n; i++) {
            rows[i] = (struct meta_checkpoint){.bytes = &checkpoints[i],
                .byte_count = sizeof checkpoints[i],
                .partition = checkpoints[i].partition};
            memcpy(rows[i].topic_id, checkpoints[i].topic_id, sizeof rows[i].topic_id);
        }
        rc = meta_checkpoints_save(d->meta, rows, n);
        checkpoints += n;
        count -= n;
    }
    return rc;
}

static int
drop_checkpoint(void *context, const uint8_t topic_id[STORE_ID_BYTES], int32_t partition)
{
    struct daemon *d = context;
    struct meta_checkpoint row = {.partition = partition};
    memcpy(row.topic_id, topic_id, sizeof row.topic_id);
    return meta_checkpoints_save(d->meta, &row, 1);
}

/** A log wants to be looked after. Any thread. */
static void
wake_keeper(void *context)
{
    struct daemon *d = context;
    struct worker *keeper = atomic_load_explicit(&d->keeper, memory_order_acquire);
    if (keeper)
        worker_wake(keeper);
}

/** There is something to compact, or to let go. Any thread. */
static void
wake_cleaner(void *context)
{
    struct daemon *d = context;
    struct worker *cleaner = atomic_load_explicit(&d->cleaner, memory_order_acquire);
    if (cleaner)
        worker_wake(cleaner);
}

static int
start_store(struct daemon *d)
{
    struct store_options options = {
        .data = d->data,
        .checkpoints = {load_checkpoint, save_checkpoints, drop_checkpoint, d},
        .kick = wake_keeper,
        .wake_cleaner = wake_cleaner,
        .context = d,
        .rules = upkeep_rules(&d->upkeep),
        .append_lock_timeout_ms = settings_int(&d->config->settings, BROKER_APPEND_LOCK_TIMEOUT_MS),
    };
    int rc = upkeep_init(&d->upkeep, d->data);
    if (rc == 0)
        rc = store_open(&options, &d->store);
    if (rc < 0)
        upkeep_fini(&d->upkeep);
    return rc;
}

static void
stop_store(struct daemon *d)
{
    store_close(&d->store);
    upkeep_fini(&d->upkeep);
}

static int
start_meta(struct daemon *d)
{
    char folder[CONFIG_PATH_BYTES_MAX + 8];
    snprintf(folder, sizeof folder, "%s/meta", d->data);
    struct meta_options options = {
        .folder = folder,
        .map_bytes = (size_t)settings_int(&d->config->settings, BROKER_METADATA_MAP_BYTES),
        .node_id = (int32_t)settings_int(&d->config->settings, BROKER_NODE_ID),
    };
    return meta_open(&options, &d->meta);
}

static void
stop_meta(struct daemon *d)
{
    meta_close(&d->meta);
}

/* ---- the controller ------------------------------------------------------------------------- */

/** Takes settings that changed into use. */
static void
configure(struct daemon *d)
{
    set_trace_level(in_force(d));
    if (d->flusher)
        worker_tick_every(d->flusher, settings_int(in_force(d), BROKER_FLUSH_INTERVAL_MS));
    if (d->hall)
        hall_configure(d->hall);
    struct store_upkeep upkeep = upkeep_settings(in_force(d));
    store_configure(d->store, &upkeep);
}

static void
on_changed(void *context, const struct changes *changes)
{
    if (changes->type == COMMAND_BROKER_ALTER)
        configure(context);
}

/** Makes this node part of the cluster, at the first start. */
static int
register_node(struct daemon *d)
{
    int32_t node = controller_node(&d->controller);
    if (settings_int(&d->config->settings, BROKER_NODE_ID) != node)
        trace(TRACE_WARNING,
            "node.id=%" PRId64 " has no effect: this data folder belongs to node "
            "%" PRId32,
            settings_int(&d->config->settings, BROKER_NODE_ID), node);
    if (cluster_node(&d->controller.cluster, node))
        return 0;
    struct command command = {.type = COMMAND_NODE_REGISTER, .node = node, .name = ""};
    return controller_propose(&d->controller, &command);
}

static int
start_controller(struct daemon *d)
{
    int rc = controller_open(&d->controller, d->meta, &d->config->settings);
    if (rc < 0)
        return err_prefix(rc, "metadata in %s/meta", d->data);
    d->listener = (struct controller_listener){.changed = on_changed, .context = d};
    controller_listen(&d->controller, &d->listener);
    set_trace_level(in_force(d));
    rc = register_node(d);
    if (rc < 0)
        controller_close(&d->controller);
    return rc;
}

static void
stop_controller(struct daemon *d)
{
    controller_close(&d->controller);
}

/* ---- flusher and keeper --------------------------------------------------------------------- */

/** Tells a failure of something that is tried again and again, once until it works again. */
static void
tell_once(bool *told, int rc)
{
    if (rc < 0 && !*told)
        trace(TRACE_ERROR, "%s", err_text());
    *told = rc < 0;
}

static void
flush(void *context)
{
    struct daemon *d = context;
    tell_once(&d->flush_failed, store_flush(d->store));
}

static void
keep(void *context)
{
    struct daemon *d = context;
    int64_t now = clock_mono_ms();
    bool all = now - d->serviced_ms >= KEEPER_TICK_MS;
    if (all) {
        d->serviced_ms = now;
        upkeep_look(&d->upkeep);
    }
    size_t left = store_service(d->store, all);
    if (left > 0)
        worker_wake_in(atomic_load_explicit(&d->keeper, memory_order_acquire), KEEPER_AGAIN_MS);
    if (all)
        tell_once(&d->backup_failed, meta_backup(d->meta));
}

static int
start_flusher(struct daemon *d)
{
    struct worker_options options = {.name = "busd-flusher",
        .tick_ms = settings_int(in_force(d), BROKER_FLUSH_INTERVAL_MS),
        .tick = flush,
        .context = d,
        .jobs_max = WORKER_JOBS_MAX};
    return worker_start(&options, &d->flusher);
}

static void
stop_flusher(struct daemon *d)
{
    worker_stop(&d->flusher);
}

static int
start_remover(struct daemon *d)
{
    struct worker_options options = {.name = "busd-remover", .jobs_max = WORKER_JOBS_MAX};
    return worker_start(&options, &d->remover);
}

static void
stop_remover(struct daemon *d)
{
    worker_stop(&d->remover);
}

static int
start_keeper(struct daemon *d)
{
    struct worker_options options = {.name = "busd-keeper",
        .tick_ms = KEEPER_TICK_MS,
        .tick = keep,
        .context = d,
        .jobs_max = WORKER_JOBS_MAX};
    struct worker *keeper;
    int rc = worker_start(&options, &keeper);
    /* Release: pairs with the loads in wake_keeper() and keep(). */
    if (rc == 0)
        atomic_store_explicit(&d->keeper, keeper, memory_order_release);
    return rc;
}

static void
stop_keeper(struct daemon *d)
{
    struct worker *keeper = atomic_load_explicit(&d->keeper, memory_order_acquire);
    worker_stop(&keeper);
    atomic_store_explicit(&d->keeper, NULL, memory_order_release);
}

/** The cleaner only takes what nobody else wants, of processor and disk. */
static void
be_modest(void)
{
    enum { IOPRIO_WHO_PROCESS = 1, IOPRIO_IDLE = 3 << 13 };
    struct sched_param none = {0};
    if (sched_setscheduler(0, SCHED_IDLE, &none) < 0 ||
        syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, IOPRIO_IDLE) < 0)
        trace(TRACE_WARNING, "lowering the priority of the cleaner: %s", strerror(errno));
}

static void
clean(void *context)
{
    struct daemon *d = context;
    if (!d->cleaner_modest)
        be_modest();
    d->cleaner_modest = true;
    while (store_clean(d->store))
        continue;
}

static int
start_cleaner(struct daemon *d)
{
    struct worker_options options = {
        .name = "busd-cleaner", .tick = clean, .context = d, .jobs_max = 1};
    struct worker *cleaner;
    int rc = worker_start(&options, &cleaner);
    if (rc < 0)
        return rc;
    /* Release: pairs with wake_cleaner(). */
    atomic_store_explicit(&d->cleaner, cleaner, memory_order_release);
    struct store_upkeep upkeep = upkeep_settings(in_force(d));
    store_configure(d->store, &upkeep);
    return 0;
}

static void
stop_cleaner(struct daemon *d)
{
    struct worker *cleaner = atomic_load_explicit(&d->cleaner, memory_order_acquire);
    store_clean_stop(d->store);
    worker_stop(&cleaner);
    atomic_store_explicit(&d->cleaner, NULL, memory_order_release);
}

/* ---- partitions that nobody uses ------------------------------------------------------------ */

static void
on_sweep(void *context)
{
    struct daemon *d = context;
    bool more = api_sweep(d->api, &d->sweep);
    int64_t rest_ms = settings_int(in_force(d), BROKER_LOG_RETENTION_CHECK_INTERVAL_MS);
    loop_timer_start(d->sweep_timer, more ? SWEEP_STEP_MS : rest_ms, 0);
}

static int
start_sweep(struct daemon *d)
{
    int rc = loop_timer_new(d->loop, on_sweep, d, &d->sweep_timer);
    if (rc == 0)
        loop_timer_start(
            d->sweep_timer, settings_int(in_force(d), BROKER_LOG_RETENTION_CHECK_INTERVAL_MS), 0);
    return rc;
}

static void
stop_sweep(struct daemon *d)
{
    loop_timer_free(&d->sweep_timer);
}

/* ---- api and doors -------------------------------------------------------------------------- */

static int64_t
mono_ms(void *context)
{
    (void)context;
    return clock_mono_ms();
}

static int64_t
wall_ms(void *context)
{
    (void)context;
    return clock_wall_ms();
}

static void
arm(void *context, int64_t deadline_ms)
{
    struct daemon *d = context;
    if (deadline_ms < 0)
        loop_timer_stop(d->api_timer);
    else
        loop_timer_start(d->api_timer, deadline_ms - clock_mono_ms(), 0);
}

static int
connections(void *context)
{
    struct daemon *d = context;
    return d->hall ? hall_connections(d->hall) : 0;
}

static const char *
listeners(void *context)
{
    struct daemon *d = context;
    return d->kafka_door ? kafka_door_text(d->kafka_door) : "";
}

static void
on_api_timer(void *context)
{
    struct daemon *d = context;
    api_tick(d->api);
}

static int
start_api(struct daemon *d)
{
    static const struct api_daemon_ops ops = {mono_ms, wall_ms, arm, connections, listeners};
    struct api_wiring wiring = {
        .ops = &ops,
        .context = d,
        .wake_keeper = wake_keeper,
        .controller = &d->controller,
        .store = d->store,
        .loop = d->loop,
        .flusher = d->flusher,
        .remover = d->remover,
        .names = &d->names.table,
        .own_uid = geteuid(),
        .version = PACKAGE_VERSION,
        .data_folder = d->data,
    };
    names_init(&d->names);
    int rc = loop_timer_new(d->loop, on_api_timer, d, &d->api_timer);
    if (rc < 0)
        return rc;
    rc = api_new(&wiring, &d->api);
    if (rc < 0)
        loop_timer_free(&d->api_timer);
    return rc;
}

static void
stop_api(struct daemon *d)
{
    /* The logs are closed by the api: what they hold has to be on stable storage before. */
    if (store_settle(d->store, SETTLE_MS) < 0)
        trace(TRACE_ERROR, "the last flush: %s", err_text());
    api_free(&d->api);
    loop_timer_free(&d->api_timer);
}

static void
close_doors(struct daemon *d)
{
    kafka_door_close(&d->kafka_door);
    unix_door_close(&d->unix_door);
    hall_close(&d->hall);
}

static int
start_doors(struct daemon *d)
{
    struct hall_options options = {.loop = d->loop, .api = d->api, .settings = in_force(d)};
    int rc = hall_open(&options, &d->hall);
    if (rc == 0)
        rc = unix_door_open(d->hall, d->socket, &d->unix_door);
    if (rc == 0)
        rc = kafka_door_open(d->hall, &d->kafka_door);
    if (rc < 0)
        close_doors(d);
    return rc;
}

/** Lets requests end that wait for the flusher, and their answers leave. */
static void
stop_doors(struct daemon *d)
{
    unix_door_quiesce(d->unix_door);
    kafka_door_quiesce(d->kafka_door);
    hall_quiesce(d->hall);
    worker_drain(d->flusher);
    int64_t deadline_ms = clock_mono_ms() + FAREWELL_MS;
    do {
        loop_turn(d->loop);
        if (hall_busy(d->hall))
            poll(NULL, 0, 1);
    } while (hall_busy(d->hall) && clock_mono_ms() < deadline_ms);
    close_doors(d);
}

/* ---- signals -------------------------------------------------------------------------------- */

static void
on_end(void *context)
{
    struct daemon *d = context;
    trace(TRACE_INFO, "ending");
    notify_send("STOPPING=1");
    loop_stop(d->loop);
}

static void
on_reload(void *context)
{
    struct daemon *d = context;
    notify_reloading();
    if (config_reload(d->config) < 0) {
        trace(TRACE_ERROR, "the configuration stays as it is: %s", err_text());
    } else {
        trace(TRACE_INFO, "read the configuration again: %s",
            d->config->file[0] ? d->config->file : "no file, flags only");
        names_forget(&d->names);
        struct changes changes = {.type = COMMAND_BROKER_ALTER, .cluster = &d->controller.cluster};
        for (struct controller_listener *at = d->controller.listeners; at; at = at->next)
            at->changed(at->context, &changes);
        kafka_door_reload(d->kafka_door);
    }
    notify_send("READY=1");
}

static void
stop_signals(struct daemon *d)
{
    loop_signal_free(&d->on_term);
    loop_signal_free(&d->on_int);
    loop_signal_free(&d->on_hup);
}

static int
start_signals(struct daemon *d)
{
    int rc = loop_signal_new(d->loop, SIGTERM, on_end, d, &d->on_term);
    if (rc == 0)
        rc = loop_signal_new(d->loop, SIGINT, on_end, d, &d->on_int);
    if (rc == 0)
        rc = loop_signal_new(d->loop, SIGHUP, on_reload, d, &d->on_hup);
    if (rc < 0)
        stop_signals(d);
    return rc;
}

/* ---- all together --------------------------------------------------------------------------- */

struct part {
    int (*start)(struct daemon *d);
    void (*stop)(struct daemon *d); /* NULL: nothing to undo */
};

/* Each part needs those above it, and undoes its own start when that fails half-way. */
static const struct part parts[] = {
    {start_process, NULL},
    {start_folders, NULL},
    {start_loop, stop_loop},
    {start_store, stop_store},
    {start_meta, stop_meta},
    {start_controller, stop_controller},
    {start_flusher, stop_flusher},
    {start_remover, stop_remover},
    {start_keeper, stop_keeper},
    {start_api, stop_api},
    {start_doors, stop_doors},
    {start_cleaner, stop_cleaner},
    {start_sweep, stop_sweep},
    {start_signals, stop_signals},
};

enum { PARTS = sizeof parts / sizeof parts[0] };

static void
tell_ready(const struct daemon *d)
{
    const struct cluster *cluster = &d->controller.cluster;
    trace(TRACE_INFO,
        "ready in %.1f ms: socket %s, data %s, %zu topics with %" PRId64
        " partitions, cluster %s, node %" PRId32,
        (double)(clock_mono_ns() - d->start_ns) / 1e6, d->socket, d->data, cluster->topic_count,
        cluster->partition_total, meta_identity(d->meta)->cluster_id,
        controller_node(&d->controller));
    if (kafka_door_text(d->kafka_door)[0] != '\0')
        trace(TRACE_INFO, "Kafka clients are served at %s", kafka_door_text(d->kafka_door));
    notify_send("READY=1");
}

int
daemon_run(struct config *config, int64_t start_ns)
{
    static struct daemon daemon; /* large, and there is one */
    struct daemon *d = &daemon;
    *d = (struct daemon){.config = config, .start_ns = start_ns};
    set_trace_level(&config->settings);
    int rc = 0;
    size_t started = 0;
    while (rc == 0 && started < PARTS)
        if ((rc = parts[started].start(d)) == 0)
            started++;
    if (rc == 0) {
        tell_ready(d);
        loop_run(d->loop);
    }
    char why[ERR_TEXT_BYTES_MAX];
    snprintf(why, sizeof why, "%s", err_text());
    while (started-- > 0)
        if (parts[started].stop)
            parts[started].stop(d);
    if (rc < 0)
        return err_set((enum bus_err) - rc, "%s", why);
    trace(TRACE_INFO, "ended");
    return 0;
}
