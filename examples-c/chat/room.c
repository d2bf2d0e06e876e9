#include "room.h"

#include "text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char LOBBY[] = "lobby";

static struct room *room_find(struct hall *hall, const char *name) {
    struct room *room = hall->rooms;
    while (room != NULL && strcmp(room->name, name) != 0) room = room->next;
    if (room != NULL || strlen(name) > ROOM_NAME) return room;
    if (hall->count >= ROOMS && strcmp(name, LOBBY) != 0) return NULL;

    room = calloc(1, sizeof *room);
    if (room == NULL) return NULL;
    strcpy(room->name, name);
    room->next = hall->rooms;
    hall->rooms = room;
    hall->count++;
    return room;
}

static void room_free(struct hall *hall, struct room *room) {
    struct room **link = &hall->rooms;
    while (*link != room) link = &(*link)->next;
    *link = room->next;
    hall->count--;
    for (size_t i = 0; i < PAST; i++) free(room->past[i]);
    free(room);
}

static int is_taken(const struct room *room, const struct guest *but, const char *name) {
    for (const struct guest *guest = room->guests; guest != NULL; guest = guest->next)
        if (guest != but && strcmp(guest->name, name) == 0) return 1;
    return 0;
}

// `base`, or what is left of it with "-2", "-3", ... behind.
static void name_freely(struct guest *guest, const char *base) {
    snprintf(guest->name, sizeof guest->name, "%s", base);
    for (unsigned i = 2; is_taken(guest->room, guest, guest->name); i++) {
        char number[16];
        int digits = snprintf(number, sizeof number, "-%u", i);
        size_t kept = text_cut(base, strlen(base), GUEST_NAME - (size_t)digits);
        snprintf(guest->name, sizeof guest->name, "%.*s%s", (int)kept, base, number);
    }
}

struct guest *guest_new(struct hall *hall, const char *room_name, const char *wanted) {
    struct guest *guest = calloc(1, sizeof *guest);
    struct room *room = guest != NULL ? room_find(hall, room_name) : NULL;
    char number[GUEST_NAME];
    if (room == NULL) {
        free(guest);
        return NULL;
    }
    guest->room = room;
    snprintf(number, sizeof number, "guest-%lu", ++hall->guests);
    name_freely(guest, wanted != NULL ? wanted : number);
    guest->next = room->guests;
    room->guests = guest;
    room->people++;
    return guest;
}

void guest_free(struct hall *hall, struct guest *guest) {
    struct room *room = guest->room;
    struct guest **link = &room->guests;
    while (*link != guest) link = &(*link)->next;
    *link = guest->next;
    free(guest);
    if (--room->people == 0 && strcmp(room->name, LOBBY) != 0) room_free(hall, room);
}

int guest_rename(struct guest *guest, const char *name) {
    if (is_taken(guest->room, guest, name)) return -1;
    snprintf(guest->name, sizeof guest->name, "%s", name);
    return 0;
}

void room_list(const struct room *room, char *out, size_t size) {
    static const char more[] = " ...";
    size_t n = (size_t)snprintf(out, size, "%zu here:", room->people);
    for (const struct guest *guest = room->guests; guest != NULL; guest = guest->next) {
        size_t len = strlen(guest->name);
        if (n + 1 + len + sizeof more > size) {
            memcpy(out + n, more, sizeof more);
            return;
        }
        out[n++] = ' ';
        memcpy(out + n, guest->name, len + 1);
        n += len;
    }
}

void room_remember(struct room *room, const char *line) {
    size_t len = strlen(line), slot = (room->first + room->count) % PAST;
    char *copy = malloc(len + 1);
    if (copy == NULL) return; // A gap in the past does no harm.
    memcpy(copy, line, len + 1);
    free(room->past[slot]);
    room->past[slot] = copy;
    if (room->count < PAST) room->count++;
    else room->first = (room->first + 1) % PAST;
}

const char *room_past(const struct room *room, size_t n) {
    return n < room->count ? room->past[(room->first + n) % PAST] : NULL;
}

void hall_free(struct hall *hall) {
    while (hall->rooms != NULL) room_free(hall, hall->rooms);
}
