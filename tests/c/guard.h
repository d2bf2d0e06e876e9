/* Memory that ends where no more may be read, and that may not be written: whoever looks one byte too far dies. */
#ifndef GUARD_H
#define GUARD_H

/* MAP_ANONYMOUS: include this first. */
#define _DEFAULT_SOURCE

#include "check.h"
#include <sys/mman.h>
#include <unistd.h>

enum { GUARD_ROOM = 2 << 20 };

/* A copy of `len` bytes, the last of which is the last of its page. It lives until the 16th call after this one. */
static inline void *guard_copy(const void *data, size_t len) {
    static char *rooms[16];
    static int next;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *room = rooms[next], *copy;
    if (room == NULL) {
        room = mmap(NULL, GUARD_ROOM + page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        CHECK(room != MAP_FAILED);
        rooms[next] = room;
    }
    next = (next + 1) % 16;
    CHECK(len <= GUARD_ROOM);
    copy = room + GUARD_ROOM - len;
    if (len == 0) return copy;
    room = copy - (uintptr_t)copy % page;
    CHECK(mprotect(room, (len + page - 1) / page * page, PROT_READ | PROT_WRITE) == 0);
    memcpy(copy, data, len);
    CHECK(mprotect(room, (len + page - 1) / page * page, PROT_READ) == 0);
    return copy;
}

/* Text whose NUL is the last byte of its page. */
static inline const char *guard_text(const char *text) {
    return guard_copy(text, strlen(text) + 1);
}

#endif
