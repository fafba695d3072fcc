/* SPDX-License-Identifier: Apache-2.0 */
#include "shm/control.h"

#include "base/err.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* A page-sized object under `name`; *page is its mapping, for the caller to fill and unmap. */
static int
object_create(const char *name, void **page)
{
    int fd = shm_open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_sys(errno, "create the shared memory object %s", name);
    int rc = 0;
    if (fallocate(fd, 0, 0, SHM_PAGE_BYTES) < 0) {
        rc = err_sys(errno, "reserve the shared memory object %s", name);
    } else {
        *page = mmap(NULL, SHM_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (*page == MAP_FAILED)
            rc = err_sys(errno, "map the shared memory object %s", name);
    }
    if (rc < 0) {
        shm_unlink(name);
        close(fd);
        return rc;
    }
    return fd;
}

/* The page has no readers yet: they get its fd only after this. So relaxed stores will do. */
static void
control_fill(struct shm_control *control, const struct shm_control_options *options)
{
    control->layout = SHM_LAYOUT_VERSION;
    control->partition = options->partition;
    memcpy(control->topic_id, options->topic_id, SHM_ID_BYTES);
    memcpy(control->boot_id, options->boot_id, SHM_ID_BYTES);
    control->generation = options->generation;
    atomic_init(&control->state, SHM_STATE_OPEN);
    atomic_init(&control->flags, options->flags);
    atomic_init(&control->leader_epoch, options->leader_epoch);
    atomic_init(&control->max_message_bytes, options->max_message_bytes);
    atomic_init(&control->segment_bytes, options->segment_bytes);
    atomic_init(&control->active_seq, options->first_seq);
    atomic_init(&control->durable_offset, options->durable_offset);
    atomic_init(&control->log_start_offset, options->log_start_offset);
    for (int i = 0; i < SHM_SLOTS; i++)
        atomic_init(&control->slots[i].seq, -1);
    control->magic = SHM_CONTROL_MAGIC;
}

int
shm_control_create(const char *name, const struct shm_control_options *options)
{
    void *page;
    int fd = object_create(name, &page);
    if (fd < 0)
        return fd;
    control_fill(page, options);
    munmap(page, SHM_PAGE_BYTES);
    return fd;
}

int
shm_bell_create(const char *name)
{
    void *page;
    int fd = object_create(name, &page);
    if (fd < 0)
        return fd;
    ((struct shm_bell *)page)->magic = SHM_BELL_MAGIC;
    munmap(page, SHM_PAGE_BYTES);
    return fd;
}

int
shm_object_open(const char *name, bool writable)
{
    int fd = shm_open(name, (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC, 0);
    if (fd < 0 && errno == ENOENT)
        return SHM_OBJECT_NONE;
    if (fd < 0)
        return err_sys(errno, "open the shared memory object %s", name);
    struct stat status;
    int rc = 0;
    /* Everybody may create a name there, and who owns the object may write to it. */
    if (fstat(fd, &status) < 0)
        rc = err_sys(errno, "look at the shared memory object %s", name);
    else if (status.st_uid != geteuid())
        rc = err_set(BUS_ERR_PERMISSION,
            "the shared memory object %s belongs to another user (uid %lu): remove it", name,
            (unsigned long)status.st_uid);
    if (rc == 0)
        return fd;
    close(fd);
    return rc;
}

int
shm_object_unlink(const char *name)
{
    if (shm_unlink(name) < 0 && errno != ENOENT)
        return err_sys(errno, "remove the shared memory object %s", name);
    return 0;
}

int
shm_control_check(const struct shm_control *control, const uint8_t *topic_id, int32_t partition)
{
    if (control->magic != SHM_CONTROL_MAGIC)
        return err_set(BUS_ERR_CORRUPT_MESSAGE, "the control page has no marker");
    if (control->layout != SHM_LAYOUT_VERSION)
        return err_set(BUS_ERR_LAYOUT_VERSION,
            "busd lays out shared memory as version %u, this library as version %d: "
            "update the older of the two",
            control->layout, SHM_LAYOUT_VERSION);
    if (topic_id && memcmp(control->topic_id, topic_id, SHM_ID_BYTES) != 0)
        return err_set(BUS_ERR_CORRUPT_MESSAGE, "the control page is of another topic");
    if (partition >= 0 && control->partition != partition)
        return err_set(BUS_ERR_CORRUPT_MESSAGE, "the control page is of another partition");
    return 0;
}

static int
hex_digit(char c)
{
    if (isdigit((unsigned char)c))
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int
shm_boot_id(uint8_t boot_id[SHM_ID_BYTES])
{
    static const char path[] = "/proc/sys/kernel/random/boot_id";
    char text[64] = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_sys(errno, "open %s", path);
    ssize_t got = read(fd, text, sizeof text - 1);
    close(fd);
    int digits = 0;
    for (ssize_t i = 0; i < got && digits < 2 * SHM_ID_BYTES; i++) {
        int digit = hex_digit(text[i]);
        if (digit < 0)
            continue;
        uint8_t *byte = &boot_id[digits / 2];
        *byte = digits % 2 ? (uint8_t)(*byte | digit) : (uint8_t)(digit << 4);
        digits++;
    }
    if (digits < 2 * SHM_ID_BYTES)
        return err_set(BUS_ERR_SYSTEM, "%s does not hold a boot id", path);
    return 0;
}

void
shm_slot_prepare(struct shm_control *control, int64_t seq, int64_t base_offset, uint32_t position,
    uint32_t count, uint32_t limit)
{
    struct shm_slot *slot = &control->slots[seq % SHM_SLOTS];
    /* No one believes the other words before the number is right. The fence pairs with the one in
     * shm_slot_read(). */
    atomic_store_explicit(&slot->seq, -1, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    atomic_store_explicit(&slot->base_offset, base_offset, memory_order_relaxed);
    atomic_store_explicit(&slot->published, SHM_PUBLISHED(position, count), memory_order_relaxed);
    atomic_store_explicit(&slot->limit, limit, memory_order_relaxed);
    /* Release: pairs with the acquire of `seq` in shm_slot_read(). */
    atomic_store_explicit(&slot->seq, seq, memory_order_release);
    /* Seq_cst, as in shm_fence(), which a client may be at after a failed flush: either it still
     * meets this slot and seals it, or its state is seen here. */
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load_explicit(&control->state, memory_order_seq_cst) != SHM_STATE_OPEN)
        atomic_fetch_or_explicit(&slot->published, SHM_SEALED, memory_order_seq_cst);
}
