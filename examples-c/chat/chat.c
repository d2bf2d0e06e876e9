// A chat server: the page and its WebSocket on one port.
//
//     ./chat [ADDRESS] [--folder FOLDER]
//
// The path is the room: ws://127.0.0.1:9001/ is the lobby, and any other name
// makes a room (percent-encoded: /%EB%8B%A4%EB%A6%AC). "?nick=NAME" behind it
// asks for a name. One text message is one line, and its first sign tells what
// it is. They are made to be read by a person (wscat, nc) and by the page:
//
//     * TEXT                the house speaks: the Welcome, help
//     ! TEXT                it refuses: nothing was passed on
//     = you are NAME        at the start, and when the name has changed
//     # 3 here: NAME ...    who is in the room, you included
//     + NAME joined
//     - NAME left: TEXT     and why
//     ~ NAME is now NAME
//     <NAME> TEXT           somebody says something
//     [TIME] <NAME> TEXT    the same, from before you came; the time is UTC
//
// A guest says text, which everybody else in the room hears, or a command:
// /nick NAME, /who, /help. Names hold no blanks, so a line takes itself apart.
#define _POSIX_C_SOURCE 200809L
#include "room.h"
#include "text.h"

#include <dari.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

static const char HELP[] = "* /nick NAME changes your name, /who lists who is here. "
                           "Any other line is heard by everybody in the room.";

struct chat {
    struct hall hall;
    int ending; // From here on nobody is left to be told who leaves.
};

static dari_remote_t *remote;

static void on_signal(int number) {
    (void)number;
    dari_remote_stop(remote);
}

// To one guest.
static void tell(dari_loop_t *loop, dari_conn_t conn, const char *format, ...) {
    char line[LINE];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    dari_conn_send(loop, conn, DARI_TEXT, line, strlen(line));
}

// To everybody else in the room.
static void tell_others(dari_loop_t *loop, const struct guest *guest, dari_conn_t conn, const char *line) {
    if (dari_loop_publish(loop, guest->room->name, conn, DARI_TEXT, line, strlen(line)) < 0)
        tell(loop, conn, "! not passed on: %s", dari_last_error());
}

// What happens in the rooms, for whoever runs the server. What is said there
// is none of his business.
static void record(const struct guest *guest, const char *what, const char *text, size_t len) {
    text_print(stdout, guest->room->name, strlen(guest->room->name));
    fputs(": ", stdout);
    text_print(stdout, guest->name, strlen(guest->name));
    printf(" %s", what);
    text_print(stdout, text, len);
    putchar('\n');
}

static void tell_who(dari_loop_t *loop, dari_conn_t conn, const struct room *room) {
    char list[LINE - 8];
    room_list(room, list, sizeof list);
    tell(loop, conn, "# %s", list);
}

// The value of "nick=" in a query, or NULL if there is none that will do.
static const char *wanted_name(const char *query, size_t len, char *out, size_t size) {
    const char *at = query, *end = query + len;
    while (at < end) {
        const char *stop = memchr(at, '&', (size_t)(end - at));
        if (stop == NULL) stop = end;
        if (stop - at > 5 && memcmp(at, "nick=", 5) == 0) {
            size_t n = text_percent_decode(at + 5, (size_t)(stop - at) - 5, out, size);
            return n != SIZE_MAX && text_is_name(out, n, GUEST_NAME) ? out : NULL;
        }
        at = stop == end ? end : stop + 1;
    }
    return NULL;
}

// The path is the room. Who does not fit is turned away: 400 instead of 101.
static void on_upgrade(void *user, dari_loop_t *loop, dari_conn_t conn) {
    struct chat *chat = user;
    dari_str_t target = dari_request_target(loop, conn);
    const char *query = target.len > 0 ? memchr(target.data, '?', target.len) : NULL;
    size_t path = query != NULL ? (size_t)(query - target.data) : target.len;
    char room[ROOM_NAME + 1], nick[GUEST_NAME + 1];
    const char *wanted = query != NULL ? wanted_name(query + 1, target.len - path - 1, nick, sizeof nick) : NULL;
    size_t len = path > 0 ? text_percent_decode(target.data + 1, path - 1, room, sizeof room) : 0;
    struct guest *guest;

    if (len != 0 && !text_is_name(room, len, ROOM_NAME)) {
        static const char no[] = "A room's name is up to 60 bytes of UTF-8, without blanks.\n";
        dari_conn_respond(loop, conn, 400, NULL, 0, no, sizeof no - 1);
        return;
    }
    guest = guest_new(&chat->hall, len == 0 ? LOBBY : room, wanted);
    if (guest == NULL) {
        static const char full[] = "Too many rooms. Come to the lobby.\n";
        dari_conn_respond(loop, conn, 503, NULL, 0, full, sizeof full - 1);
        return;
    }
    dari_conn_set_data(loop, conn, guest);
    dari_conn_accept(loop, conn, NULL, NULL, 0);
}

static void on_open(void *user, dari_loop_t *loop, dari_conn_t conn) {
    struct guest *guest = dari_conn_data(loop, conn);
    char line[LINE], peer[128] = "";
    const char *past;
    size_t len = 0;
    (void)user;

    tell(loop, conn, "* Welcome to the %s%s, %s! /help tells what you can do.", guest->room->name,
         strcmp(guest->room->name, LOBBY) == 0 ? "" : " room", guest->name);
    tell(loop, conn, "= you are %s", guest->name);
    for (size_t i = 0; (past = room_past(guest->room, i)) != NULL; i++) tell(loop, conn, "%s", past);
    tell_who(loop, conn, guest->room);

    dari_conn_subscribe(loop, conn, guest->room->name);
    snprintf(line, sizeof line, "+ %s joined", guest->name);
    tell_others(loop, guest, conn, line);
    dari_conn_peer(loop, conn, peer, sizeof peer, &len);
    record(guest, "joined from ", peer, len);
}

static void rename_guest(dari_loop_t *loop, dari_conn_t conn, struct guest *guest, const char *name, size_t len) {
    char old[GUEST_NAME + 1], new[GUEST_NAME + 1], line[LINE];
    if (!text_is_name(name, len, GUEST_NAME)) {
        tell(loop, conn, "! a name has 1 to %d bytes and no blanks, brackets or invisible signs", GUEST_NAME);
        return;
    }
    memcpy(new, name, len);
    new[len] = '\0';
    strcpy(old, guest->name);
    if (guest_rename(guest, new) < 0) {
        tell(loop, conn, "! somebody here is %s already", new);
        return;
    }
    tell(loop, conn, "= you are %s", new);
    if (strcmp(old, new) == 0) return;
    snprintf(line, sizeof line, "~ %s is now %s", old, new);
    tell_others(loop, guest, conn, line);
}

static void obey(dari_loop_t *loop, dari_conn_t conn, struct guest *guest, const char *command, size_t len) {
    if (len > 6 && memcmp(command, "/nick ", 6) == 0) rename_guest(loop, conn, guest, command + 6, len - 6);
    else if (len == 4 && memcmp(command, "/who", 4) == 0) tell_who(loop, conn, guest->room);
    else if (len == 5 && memcmp(command, "/help", 5) == 0) tell(loop, conn, "%s", HELP);
    else tell(loop, conn, "! no such command: /help lists them");
}

static void speak(dari_loop_t *loop, dari_conn_t conn, const struct guest *guest, const char *text, size_t len) {
    char line[LINE];
    size_t stamp;
    time_t now = time(NULL);
    struct tm utc;
    if (len > SPEECH) {
        tell(loop, conn, "! that was %zu bytes, and %d is the most", len, SPEECH);
        return;
    }
    if (!text_is_speech(text, len)) {
        tell(loop, conn, "! control characters are not passed on");
        return;
    }
    // One buffer serves both: the past begins with the time, the present behind it.
    gmtime_r(&now, &utc);
    stamp = strftime(line, sizeof line, "[%Y-%m-%dT%H:%M:%SZ] ", &utc);
    snprintf(line + stamp, sizeof line - stamp, "<%s> %.*s", guest->name, (int)len, text);
    room_remember(guest->room, line);
    tell_others(loop, guest, conn, line + stamp);
}

static void on_message(void *user, dari_loop_t *loop, dari_conn_t conn, const dari_message_t *message) {
    struct guest *guest = dari_conn_data(loop, conn);
    size_t len = message->len;
    (void)user;
    if (message->kind != DARI_TEXT) {
        dari_conn_close(loop, conn, 1003, "this chat is text only");
        return;
    }
    // Some clients send the line with its end.
    while (len > 0 && (message->data[len - 1] == '\n' || message->data[len - 1] == '\r')) len--;
    if (len > 0 && message->data[0] == '/') obey(loop, conn, guest, message->data, len);
    else if (len > 0) speak(loop, conn, guest, message->data, len);
}

// The one place where a guest goes: every connection closes exactly once.
static void on_close(void *user, dari_loop_t *loop, dari_conn_t conn, const dari_close_t *why) {
    struct chat *chat = user;
    struct guest *guest = dari_conn_data(loop, conn);
    char line[LINE];
    if (guest == NULL) return; // Turned away.
    if (why->opened && !chat->ending) {
        size_t len = text_cut(why->text.data, why->text.len, 400);
        snprintf(line, sizeof line, "- %s left: %.*s", guest->name, (int)len, why->text.data);
        tell_others(loop, guest, conn, line);
    }
    record(guest, "left: ", why->text.data, why->text.len);
    guest_free(&chat->hall, guest);
}

static int usage(const char *wrong) {
    fprintf(stderr, "chat: %s\nusage: chat [ADDRESS] [--folder FOLDER]\n", wrong);
    return 2;
}

int main(int argc, char **argv) {
    static struct chat chat;
    const char *address = "127.0.0.1:9001", *folder = "examples-c/chat/page", *colon;
    // Twice what may be said: who says too much hears why, who says far too
    // much is closed with 1009.
    dari_limits_t limits = {.struct_size = sizeof limits, .max_message = 2 * SPEECH};
    dari_listen_t how = {.struct_size = sizeof how, .limits = &limits};
    dari_handler_t handler = {.struct_size = sizeof handler, .user = &chat, .open = on_open,
                              .message = on_message, .close = on_close, .upgrade = on_upgrade};
    dari_listener_t listener;
    dari_loop_t *loop;
    struct stat info;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--folder") == 0 && i + 1 < argc) folder = argv[++i];
        else if (argv[i][0] == '-') return usage("no such option");
        else address = argv[i];
    }
    if (stat(folder, &info) < 0 || !S_ISDIR(info.st_mode)) {
        fprintf(stderr, "chat: the page is not in \"%s\": say where with --folder\n", folder);
        return 1;
    }
    how.folder = folder;
    if (dari_loop_new(NULL, &loop) < 0 || dari_remote_new(loop, &remote) < 0 ||
        dari_loop_listen(loop, address, &how, &handler, &listener) < 0) {
        fprintf(stderr, "chat: %s\n", dari_last_error());
        return 1;
    }
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    setvbuf(stdout, NULL, _IOLBF, 0);
    colon = strrchr(address, ':');
    if (dari_listener_port(loop, listener) == 0 || colon == NULL) printf("listening on %s\n", address);
    else printf("listening on http://%.*s:%u\n", (int)(colon - address), address, (unsigned)dari_listener_port(loop, listener));

    dari_loop_run(loop);
    chat.ending = 1;
    dari_loop_free(loop); // Says 1001 to every peer.
    dari_remote_free(remote);
    hall_free(&chat.hall);
    return 0;
}
