/* SPDX-License-Identifier: Apache-2.0
 * LMDB follows every page number and every length in its file. This walks the file first, by
 * pread(), and refuses what LMDB could not survive. The layout is that of LMDB 0.9 on a 64-bit
 * little-endian machine, restricted to what meta/ uses: no duplicates, no fixed-size leaves.
 */
#include "meta/env.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    PAGE_BYTES = 4096,
    PAGE_HEAD_BYTES = 16,
    NODE_HEAD_BYTES = 8,
    DEPTH_MAX = 24, /* LMDB's cursors hold 32 */
    KEY_BYTES_MAX = 511,

    PAGE_BRANCH = 0x01,
    PAGE_LEAF = 0x02,
    PAGE_OVERFLOW = 0x04,
    PAGE_META = 0x08,
    NODE_BIG = 0x01,   /* the value is the number of an overflow page */
    NODE_TREE = 0x02,  /* the value is a struct tree */
    FREE_FLAGS = 0x08, /* integer keys: of the tree of free pages, which has no other flag */
};

#define META_MAGIC UINT32_C(0xbeefc0de)
#define META_VERSION UINT32_C(1)
#define NO_PAGE UINT64_MAX

struct page_head {
    uint64_t number;
    uint16_t unused;
    uint16_t flags;
    union {
        struct {
            uint16_t lower, upper; /* where free space begins and ends */
        };
        uint32_t overflow_pages;
    };
};

struct tree {
    uint32_t page_bytes; /* in the first tree of a meta page */
    uint16_t flags;
    uint16_t depth;
    uint64_t branch_pages, leaf_pages, overflow_pages;
    uint64_t entries;
    uint64_t root; /* NO_PAGE: empty */
};

struct meta_page {
    struct page_head head;
    uint32_t magic;
    uint32_t version;
    uint64_t address;
    uint64_t map_bytes;
    struct tree free_pages, main;
    uint64_t last_page;
    uint64_t transaction;
};

static_assert(sizeof(struct page_head) == PAGE_HEAD_BYTES, "LMDB's page header");
static_assert(sizeof(struct tree) == 48, "LMDB's tree header");

struct check {
    const char *path;
    int fd;
    uint64_t pages; /* in use: the last page + 1 */
    uint8_t *seen;  /* a bit per page: no page may be reached twice */
    uint64_t walked_branches, walked_leaves, walked_overflows, walked_entries;
    bool is_free_tree;
};

static int
damaged(const struct check *check, uint64_t page, const char *why)
{
    return err_set(
        BUS_ERR_CORRUPT_MESSAGE, "%s is damaged: page %" PRIu64 ": %s", check->path, page, why);
}

static int
read_page(const struct check *check, uint64_t number, uint8_t page[PAGE_BYTES])
{
    ssize_t got = pread(check->fd, page, PAGE_BYTES, (off_t)(number * PAGE_BYTES));
    if (got < 0)
        return err_sys(errno, "reading %s", check->path);
    return got == PAGE_BYTES ? 0 : damaged(check, number, "missing");
}

/** Notes that a page is in use; refuses one that is out of range or in use twice. */
static int
take_page(struct check *check, uint64_t number)
{
    if (number < 2 || number >= check->pages)
        return damaged(check, number, "the number is out of range");
    uint8_t bit = (uint8_t)(1u << (number % 8));
    if (check->seen[number / 8] & bit)
        return damaged(check, number, "used twice");
    check->seen[number / 8] |= bit;
    return 0;
}

static int check_tree(struct check *check, const struct tree *tree, bool sub_trees);

/** The value of a leaf node of the tree of free pages: a count, then page numbers. */
static int
check_free_list(struct check *check, uint64_t page, const uint8_t *list, uint64_t n)
{
    uint64_t count;
    if (n < sizeof count)
        return damaged(check, page, "a list of free pages is cut");
    memcpy(&count, list, sizeof count);
    if (count > n / sizeof count - 1)
        return damaged(check, page, "a list of free pages is cut");
    for (uint64_t i = 1; i <= count; i++) {
        uint64_t number;
        memcpy(&number, list + i * sizeof number, sizeof number);
        int rc = take_page(check, number);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/** Takes `count` consecutive pages from `first` on. */
static int
take_pages(struct check *check, uint64_t first, uint64_t count)
{
    if (count == 0 || count > check->pages)
        return damaged(check, first, "a value of an impossible length");
    for (uint64_t i = 0; i < count; i++) {
        int rc = take_page(check, first + i);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int
check_big_free_list(struct check *check, uint64_t first, uint64_t n)
{
    uint8_t *list = malloc(n);
    if (!list)
        return err_no_memory();
    ssize_t got = pread(check->fd, list, n, (off_t)(first * PAGE_BYTES + PAGE_HEAD_BYTES));
    int rc = got == (ssize_t)n ? check_free_list(check, first, list, n)
                               : damaged(check, first, "missing");
    free(list);
    return rc;
}

/** A value in pages of its own. */
static int
check_overflow(struct check *check, uint64_t first, uint64_t n)
{
    uint8_t page[PAGE_BYTES];
    uint64_t count = (PAGE_HEAD_BYTES + n + PAGE_BYTES - 1) / PAGE_BYTES;
    int rc = take_pages(check, first, count);
    if (rc == 0)
        rc = read_page(check, first, page);
    if (rc < 0)
        return rc;
    struct page_head head;
    memcpy(&head, page, sizeof head);
    if (head.number != first || head.flags != PAGE_OVERFLOW || head.overflow_pages != count)
        return damaged(check, first, "not the value that belongs here");
    check->walked_overflows += count;
    return check->is_free_tree ? check_big_free_list(check, first, n) : 0;
}

struct node {
    uint16_t low, high; /* of the value's length, or of the child's number */
    uint16_t flags;     /* in a branch: the highest bits of the child's number */
    uint16_t key_bytes;
};

/** A key; `at` NULL: there is none, so nothing is compared. */
struct key {
    const uint8_t *at;
    size_t n;
};

/** One page while its entries are looked at. */
struct visit {
    uint8_t page[PAGE_BYTES];
    struct page_head head;
    uint8_t used[PAGE_BYTES / 16]; /* a bit for two bytes: entries may not overlap */
    size_t used_bytes;
    struct key low, high; /* keys lie in low ≤ key < high */
    int depth;
    bool sub_trees;
};

static int check_page(struct check *check, uint64_t number, const struct visit *above,
    const struct key *low, const struct key *high);

/** The order in which LMDB keeps keys. */
static int
compare(const struct check *check, const struct key *a, const struct key *b)
{
    if (check->is_free_tree) {
        uint64_t x, y;
        memcpy(&x, a->at, sizeof x);
        memcpy(&y, b->at, sizeof y);
        return x < y ? -1 : x > y;
    }
    int order = memcmp(a->at, b->at, a->n < b->n ? a->n : b->n);
    return order != 0 ? order : a->n < b->n ? -1 : a->n > b->n;
}

/** Takes the bytes of an entry; refuses those that pass the end or that another entry has. */
static int
take_bytes(struct check *check, struct visit *visit, size_t at, size_t n)
{
    n += n % 2;
    if (at < visit->head.upper || at % 2 != 0 || n > PAGE_BYTES - at)
        return damaged(check, visit->head.number, "an entry lies outside");
    for (size_t i = at / 2; i < (at + n) / 2; i++) {
        if (visit->used[i / 8] & 1u << (i % 8))
            return damaged(check, visit->head.number, "entries overlap");
        visit->used[i / 8] |= (uint8_t)(1u << (i % 8));
    }
    visit->used_bytes += n;
    return 0;
}

/** Finds entry `i` and reads its header; -1 when that passes the end. */
static int
read_node(const struct visit *visit, size_t i, struct node *node, size_t *at)
{
    uint16_t offset;
    memcpy(&offset, visit->page + PAGE_HEAD_BYTES + 2 * i, sizeof offset);
    *at = offset;
    if (offset > PAGE_BYTES - NODE_HEAD_BYTES)
        return -1;
    memcpy(node, visit->page + offset, sizeof *node);
    return 0;
}

/** The value of a leaf's entry: here, in pages of its own, or a tree. */
static int
check_value(struct check *check, const struct visit *visit, const struct node *node, size_t data)
{
    uint64_t n = (uint64_t)node->high << 16 | node->low;
    const uint8_t *value = visit->page + data;
    if (node->flags == NODE_BIG) {
        uint64_t first;
        memcpy(&first, value, sizeof first);
        return check_overflow(check, first, n);
    }
    if (node->flags == NODE_TREE && visit->sub_trees && n == sizeof(struct tree)) {
        struct tree tree;
        struct check sub = *check;
        memcpy(&tree, value, sizeof tree);
        return check_tree(&sub, &tree, false);
    }
    if (node->flags != 0)
        return damaged(check, visit->head.number, "an entry of an unknown kind");
    return check->is_free_tree ? check_free_list(check, visit->head.number, value, n) : 0;
}

/** The key of entry `i` has to follow `previous` and to lie within the page's bounds. */
static int
check_order(struct check *check, const struct visit *visit, const struct key *key,
    const struct key *previous)
{
    bool key_fits =
        check->is_free_tree ? key->n == sizeof(uint64_t) : key->n > 0 && key->n <= KEY_BYTES_MAX;
    if (!key_fits || (visit->low.at && compare(check, key, &visit->low) < 0) ||
        (visit->high.at && compare(check, key, &visit->high) >= 0) ||
        (previous->at && compare(check, key, previous) <= 0))
        return damaged(check, visit->head.number, "a key in the wrong place");
    return 0;
}

static int
check_leaf(struct check *check, struct visit *visit, size_t count)
{
    struct key previous = {0};
    for (size_t i = 0; i < count; i++) {
        struct node node;
        size_t at;
        if (read_node(visit, i, &node, &at) < 0)
            return damaged(check, visit->head.number, "an entry lies outside");
        uint64_t n = (uint64_t)node.high << 16 | node.low;
        size_t inside = node.flags & NODE_BIG ? sizeof(uint64_t) : n;
        if (n > INT32_MAX)
            return damaged(check, visit->head.number, "a value of an impossible length");
        int rc = take_bytes(check, visit, at, NODE_HEAD_BYTES + node.key_bytes + inside);
        struct key key = {visit->page + at + NODE_HEAD_BYTES, node.key_bytes};
        if (rc == 0)
            rc = check_order(check, visit, &key, &previous);
        if (rc == 0)
            rc = check_value(check, visit, &node, at + NODE_HEAD_BYTES + node.key_bytes);
        if (rc < 0)
            return rc;
        previous = key;
    }
    return 0;
}

/** An entry of a branch leads to the keys from its own up to that of the next entry. */
static int
check_branch(struct check *check, struct visit *visit, size_t count)
{
    struct key low = {0}; /* the first entry's key does not count */
    uint64_t child = 0;
    for (size_t i = 0; i <= count; i++) {
        struct node node = {0};
        struct key key = visit->high;
        size_t at = 0;
        int rc = 0;
        if (i < count && read_node(visit, i, &node, &at) < 0)
            return damaged(check, visit->head.number, "an entry lies outside");
        if (i < count)
            rc = take_bytes(check, visit, at, NODE_HEAD_BYTES + node.key_bytes);
        if (rc == 0 && i > 0 && i < count) {
            key = (struct key){visit->page + at + NODE_HEAD_BYTES, node.key_bytes};
            rc = check_order(check, visit, &key, &low);
        }
        if (rc == 0 && i > 0)
            rc = check_page(check, child, visit, low.at ? &low : &visit->low, &key);
        if (rc < 0)
            return rc;
        if (i > 0)
            low = key;
        child = (uint64_t)node.flags << 32 | (uint64_t)node.high << 16 | (uint64_t)node.low;
    }
    return 0;
}

static int
check_head(struct check *check, const struct visit *visit, uint64_t number)
{
    const struct page_head *head = &visit->head;
    /* All leaves lie at one depth: a page is a leaf exactly when the depth is used up. */
    if (head->number != number || head->flags != (visit->depth == 1 ? PAGE_LEAF : PAGE_BRANCH))
        return damaged(check, number, "not the page that belongs here");
    if (head->lower < PAGE_HEAD_BYTES || head->lower > head->upper || head->upper > PAGE_BYTES ||
        head->lower % 2 != 0)
        return damaged(check, number, "the header makes no sense");
    if (head->lower < PAGE_HEAD_BYTES + 2 * (head->flags == PAGE_LEAF ? 1 : 2))
        return damaged(check, number, "too few entries");
    return 0;
}

static int
check_content_of_page(struct check *check, struct visit *visit, uint64_t number)
{
    int rc = take_page(check, number);
    if (rc == 0)
        rc = read_page(check, number, visit->page);
    if (rc < 0)
        return rc;
    memcpy(&visit->head, visit->page, sizeof visit->head);
    rc = check_head(check, visit, number);
    if (rc < 0)
        return rc;
    size_t count = (size_t)(visit->head.lower - PAGE_HEAD_BYTES) / 2;
    if (visit->head.flags == PAGE_LEAF) {
        check->walked_leaves++;
        check->walked_entries += count;
        rc = check_leaf(check, visit, count);
    } else {
        check->walked_branches++;
        rc = check_branch(check, visit, count);
    }
    if (rc == 0 && visit->used_bytes != (size_t)PAGE_BYTES - visit->head.upper)
        return damaged(check, number, "space that no entry has");
    return rc;
}

/** The page `number` below the page `above`. */
static int
check_page(struct check *check, uint64_t number, const struct visit *above, const struct key *low,
    const struct key *high)
{
    struct visit *visit = calloc(1, sizeof *visit);
    if (!visit)
        return err_no_memory();
    visit->depth = above->depth - 1;
    visit->sub_trees = above->sub_trees;
    visit->low = *low;
    visit->high = *high;
    int rc = check_content_of_page(check, visit, number);
    free(visit);
    return rc;
}

static int
check_tree(struct check *check, const struct tree *tree, bool sub_trees)
{
    check->walked_branches = check->walked_leaves = 0;
    check->walked_overflows = check->walked_entries = 0;
    if (tree->flags != (check->is_free_tree ? FREE_FLAGS : 0))
        return damaged(check, tree->root, "the root of a tree of an unknown kind");
    if (tree->depth > DEPTH_MAX || (tree->depth == 0) != (tree->root == NO_PAGE))
        return damaged(check, tree->root, "a tree of an impossible depth");
    if (tree->depth > 0) {
        static const struct key none;
        struct visit above = {.depth = tree->depth + 1, .sub_trees = sub_trees};
        int rc = check_page(check, tree->root, &above, &none, &none);
        if (rc < 0)
            return rc;
    }
    if (check->walked_branches != tree->branch_pages || check->walked_leaves != tree->leaf_pages ||
        check->walked_overflows != tree->overflow_pages || check->walked_entries != tree->entries)
        return damaged(check, tree->root, "a tree of another size than its header tells");
    return 0;
}

/** Reads both meta pages and gives the one that counts, that of the last transaction. */
static int
read_meta(const struct check *check, struct meta_page *meta)
{
    struct meta_page both[2];
    for (uint64_t i = 0; i < 2; i++) {
        uint8_t page[PAGE_BYTES];
        int rc = read_page(check, i, page);
        if (rc < 0)
            return rc;
        memcpy(&both[i], page, sizeof both[i]);
        if (both[i].head.number != i || both[i].head.flags != PAGE_META ||
            both[i].magic != META_MAGIC)
            return damaged(check, i, "not a meta page of LMDB");
        if (both[i].version != META_VERSION)
            return err_set(BUS_ERR_DATA_VERSION,
                "%s has version %" PRIu32 " of LMDB's format, this busd reads %" PRIu32
                "; start the busd that wrote it",
                check->path, both[i].version, META_VERSION);
        if (both[i].free_pages.page_bytes != PAGE_BYTES)
            return damaged(check, i, "not the page size of this machine");
    }
    /* Transactions take turns with the two pages, and LMDB goes by the parity of the last one. */
    if (both[0].transaction % 2 != 0 || (both[1].transaction % 2 != 1 && both[1].transaction != 0))
        return damaged(check, 0, "a transaction of the other meta page");
    *meta = both[both[0].transaction < both[1].transaction];
    return 0;
}

static int
check_content(struct check *check, off_t file_bytes)
{
    struct meta_page meta;
    int rc = read_meta(check, &meta);
    if (rc < 0)
        return rc;
    if (meta.last_page < 1 || meta.last_page >= (uint64_t)file_bytes / PAGE_BYTES)
        return damaged(check, meta.last_page, "the file was cut");
    check->pages = meta.last_page + 1;
    check->seen = calloc(check->pages / 8 + 1, 1);
    if (!check->seen)
        return err_no_memory();
    rc = check_tree(check, &meta.main, true);
    check->is_free_tree = true;
    if (rc == 0)
        rc = check_tree(check, &meta.free_pages, false);
    free(check->seen);
    return rc;
}

int
file_check(const char *path)
{
    struct check check = {.path = path};
    struct stat about;
    check.fd = open(path, O_RDONLY | O_CLOEXEC);
    if (check.fd < 0)
        return errno == ENOENT ? FILE_NONE : err_sys(errno, "opening %s", path);
    int rc = FILE_NONE;
    if (fstat(check.fd, &about) < 0)
        rc = err_sys(errno, "looking at %s", path);
    else if (about.st_size > 0)
        rc = check_content(&check, about.st_size);
    close(check.fd);
    return rc;
}
