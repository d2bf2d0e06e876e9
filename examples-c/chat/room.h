// Rooms, who is in them, and what was said there last. All of it is bounded.
// Nothing here knows of sockets: chat.c does the talking.
#ifndef CHAT_ROOM_H
#define CHAT_ROOM_H

#include <stddef.h>

enum {
    ROOM_NAME = 60,  // Bytes of a room's name: 20 Hangul syllables.
    GUEST_NAME = 40, // Bytes of a guest's: 13 of them.
    ROOMS = 64,      // Rooms at a time.
    PAST = 50,       // Lines that a room remembers.
    SPEECH = 2000,   // Bytes that may be said at once.
    LINE = 2200      // A line of the protocol, the NUL included.
};

struct room;

struct guest {
    struct guest *next; // In the same room.
    struct room *room;
    char name[GUEST_NAME + 1];
};

struct room {
    struct room *next;
    struct guest *guests;
    size_t people;
    size_t first, count; // The past, a ring.
    char *past[PAST];
    char name[ROOM_NAME + 1];
};

struct hall {
    struct room *rooms;
    size_t count;
    unsigned long guests; // Ever, to number them.
};

// The room that an empty path leads to. It keeps its past when it is empty.
extern const char LOBBY[];

// A new guest in the room of that name, which is made if need be. `wanted` may
// be NULL; if somebody else has the name, a number is added. NULL if there are
// too many rooms, or no memory.
struct guest *guest_new(struct hall *hall, const char *room, const char *wanted);

// Out of the room. One that is empty now is forgotten, unless it is the lobby.
void guest_free(struct hall *hall, struct guest *guest);

// 0, or -1 if somebody else in the room has that name.
int guest_rename(struct guest *guest, const char *name);

// "3 here: 민수 guest-2 ...", cut between names where `size` ends.
void room_list(const struct room *room, char *out, size_t size);

// Remembers a line, and forgets the oldest one.
void room_remember(struct room *room, const char *line);

// The nth line remembered, oldest first, or NULL.
const char *room_past(const struct room *room, size_t n);

// Forgets the rooms that are left when all guests have gone.
void hall_free(struct hall *hall);

#endif
