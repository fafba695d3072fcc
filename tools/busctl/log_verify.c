/* SPDX-License-Identifier: Apache-2.0 */
#include "busctl/command.h"
#include "busctl/indexfile.h"
#include "busctl/verify.h"

static const struct opt_row options[] = {
    {'C', "compacted", NULL,
        "offsets may be missing everywhere; for compacted segments outside of their folder, which "
        "tells",
        OPT_NOTHING},
    {0},
};

static const char *const examples[] = {
    "$0 log verify /var/lib/shmbus",
    "$0 log verify /var/lib/shmbus/topics/orders-0",
    "$0 log verify --json /var/lib/shmbus/topics/orders-0/00000000000000000000.log",
    NULL,
};

/** An index says nothing by itself: it is checked with its segment. */
static int
verify_path(struct ctl *ctl, struct verify *verify, const char *path)
{
    struct logset set;
    char segment[PATH_MAX];
    int code = CTL_OK;
    if (indexfile_kind(path) != INDEXFILE_NONE && indexfile_sibling(path, ".log", segment))
        path = segment;
    if (logset_init(&set, path) < 0)
        code = ctl_fail(ctl, "%s", bus_error());
    for (size_t i = 0; i < set.count; i++)
        verify->progress.total += set.files[i].size;
    for (size_t i = 0; i < set.count && code == CTL_OK; i++)
        if (verify_segment(verify, &set.files[i]) < 0) {
            progress_clear(&verify->progress);
            code = ctl_fail(ctl, "%s", bus_error());
        }
    logset_fini(&set);
    return code;
}

static void
print_summary(struct out *out, const struct verify *verify)
{
    out_object(out, NULL);
    out_integer(out, "files", verify->files);
    out_integer(out, "indexes", verify->indexes);
    out_integer(out, "batches", verify->batches);
    out_integer(out, "records", verify->records);
    out_integer(out, "bytes", verify->bytes);
    out_integer(out, "damages", verify->damages);
    out_end(out);
}

static int
run(struct ctl *ctl, struct opts *opts)
{
    struct verify verify = {.ctl = ctl};
    for (int key; (key = opts_next(opts)) != OPTS_END; verify.compacted = true)
        if (key == OPTS_EXIT)
            return opts->exit_code;
    int code = opts_expect(opts, 1, -1, "a segment file or a folder");
    if (code == CTL_OK)
        code = ctl_out(ctl);
    if (code != CTL_OK)
        return code;
    progress_init(&verify.progress, "verified", 0);
    for (char **path = opts_arguments(opts); *path; path++)
        if (verify_path(ctl, &verify, *path) != CTL_OK)
            code = CTL_FAILED;
    progress_clear(&verify.progress);
    print_summary(ctl->out, &verify);
    return verify.damages > 0 ? CTL_FAILED : code;
}

const struct command command_log_verify = {
    .group = "log",
    .name = "verify",
    .arguments = "PATH...",
    .text = "Checks segment files and their indexes, without busd; fails when there is damage.",
    .options = options,
    .examples = examples,
    .first = OPT_FILE,
    .others = OPT_FILE,
    .run = run,
};
