/* What peers can do wrong, clients and then servers: rows for test_causes.c. */
#ifndef BREACHES_H
#define BREACHES_H

#include "ends.h"

#define OFFER "Sec-WebSocket-Extensions: permessage-deflate\r\n"
#define FRAMES(bytes) bytes, sizeof(bytes) - 1

/* What a stranger says after its handshake; offsets count from there. `mute`: nothing that it says behind it
 * could be a Close frame, or it was one itself. */
static const struct breach {
    const char *name, *offer;
    dari_limits_t limits;
    const char *bytes;
    size_t len;
    struct end end;
    int mute;
} BREACHES[] = {
    {"unmasked", "", {0}, FRAMES("\x81\x82\0\0\0\0hi\x81\x02ho"),
     {.cause = DARI_CAUSE_PROTOCOL, .sent = 1002, .offset = 8, .rule = "RFC 6455 5.1", .text = "masks its frames"}, 0},
    {"reserved bits", "", {0}, FRAMES("\xc1\x80\0\0\0\0"),
     {.cause = DARI_CAUSE_PROTOCOL, .sent = 1002, .rule = "RFC 6455 5.2", .text = "reserved bit"}, 0},
    {"reserved opcode", "", {0}, FRAMES("\x83\x80\0\0\0\0"),
     {.cause = DARI_CAUSE_PROTOCOL, .sent = 1002, .rule = "RFC 6455 5.2", .text = "opcode"}, 0},
    {"fragmented control", "", {0}, FRAMES("\x09\x80\0\0\0\0"),
     {.cause = DARI_CAUSE_PROTOCOL, .sent = 1002, .rule = "RFC 6455 5.5", .text = "never fragmented"}, 0},
    {"long control", "", {0}, FRAMES("\x89\xfe\0\x7e\0\0\0\0"),
     {.cause = DARI_CAUSE_PROTOCOL, .sent = 1002, .rule = "RFC 6455 5.5", .text = "125 bytes"}, 1},
    {"length not minimal", "", {0}, FRAMES("\x81\xfe\0\x03\0\0\0\0abc"),
     {.cause = DARI_CAUSE_PROTOCOL, .sent = 1002, .rule = "RFC 6455 5.2", .text = "as few bytes"}, 0},
    {"length with top bit", "", {0}, FRAMES("\x82\xff\x80\0\0\0\0\0\0\0\0\0\0\0"),
     {.cause = DARI_CAUSE_PROTOCOL, .sent = 1002, .rule = "RFC 6455 5.2", .text = "top bit"}, 1},
    {"nothing to continue", "", {0}, FRAMES(PING "\x80\x80\0\0\0\0"),
     {.cause = DARI_CAUSE_PROTOCOL, .sent = 1002, .offset = 6, .rule = "RFC 6455 5.4", .text = "to continue"}, 0},
    {"message in message", "", {0}, FRAMES("\x01\x81\0\0\0\0a\x81\x81\0\0\0\0b"),
     {.cause = DARI_CAUSE_PROTOCOL, .sent = 1002, .offset = 7, .rule = "RFC 6455 5.4", .text = "before the last"}, 0},
    {"close of one byte", "", {0}, FRAMES("\x88\x81\0\0\0\0\x03"),
     {.cause = DARI_CAUSE_PROTOCOL, .sent = 1002, .rule = "RFC 6455 5.5.1", .text = "code of two bytes"}, 1},
    {"close with a code that is none", "", {0}, FRAMES("\x88\x82\0\0\0\0\x03\xed"),
     {.cause = DARI_CAUSE_PROTOCOL, .sent = 1002, .rule = "RFC 6455 7.4", .text = "1005"}, 1},
    {"what can not be inflated", OFFER, {.deflate = DARI_DEFLATE}, FRAMES("\xc1\x84\0\0\0\0\xff\xff\xff\xff"),
     {.cause = DARI_CAUSE_PROTOCOL, .sent = 1007, .rule = "RFC 7692", .text = "inflated"}, 0},
    {"text in the middle of a fragmented message", "", {0},
     FRAMES("\x01\x82\0\0\0\0ab" PING "\x00\x83\0\0\0\0c\xff" "d"),
     {.cause = DARI_CAUSE_UTF8, .sent = 1007, .offset = 21, .rule = "RFC 6455 8.1", .text = "at byte"}, 0},
    {"a character that the end cuts off", "", {0}, FRAMES("\x01\x81\0\0\0\0\xea\x80\x81\0\0\0\0\xb0"),
     {.cause = DARI_CAUSE_UTF8, .sent = 1007, .offset = 14, .rule = "RFC 6455 8.1", .text = "at byte"}, 0},
    {"the reason of a close", "", {0}, FRAMES("\x88\x83\0\0\0\0\x03\xe8\xff"),
     {.cause = DARI_CAUSE_UTF8, .sent = 1007, .rule = "RFC 6455 5.5.1", .text = "reason"}, 1},
    {"too long by its header", "", {.max_message = 10}, FRAMES("\x82\x8b\0\0\0\0abcdefghijk"),
     {.cause = DARI_CAUSE_TOO_BIG, .sent = 1009, .limit = 10, .met = 11, .rule = "RFC 6455 10.4", .text = "limit 10"}, 0},
    {"too long by a header that promises 2^62", "", {.max_message = 10},
     FRAMES("\x82\xff\x40\0\0\0\0\0\0\0\0\0\0\0"),
     {.cause = DARI_CAUSE_TOO_BIG, .sent = 1009, .limit = 10, .met = 1ull << 62, .rule = "RFC 6455 10.4"}, 1},
    {"too long by the sum", "", {.max_message = 10}, FRAMES("\x02\x86\0\0\0\0abcdef\x80\x85\0\0\0\0ghijk"),
     {.cause = DARI_CAUSE_TOO_BIG, .sent = 1009, .offset = 12, .limit = 10, .met = 11, .rule = "RFC 6455 10.4"}, 0},
    /* A thousand times "a". */
    {"too long when inflated", OFFER, {.deflate = DARI_DEFLATE, .max_message = 10},
     FRAMES("\xc2\x8b\0\0\0\0\x4a\x4c\x1c\x05\xa3\x60\x14\x0c\x77\0\0"),
     {.cause = DARI_CAUSE_TOO_BIG, .sent = 1009, .limit = 10, .met = 11, .rule = "RFC 6455 10.4"}, 0},
    {"too many empty fragments", "", {.max_empty_fragments = 2},
     FRAMES("\x01\x80\0\0\0\0\0\x80\0\0\0\0\0\x80\0\0\0\0"),
     {.cause = DARI_CAUSE_LIMIT, .sent = 1008, .offset = 12, .limit = 2, .met = 3, .rule = "RFC 6455 10.4"}, 0},
    {"too many control frames", "", {.max_controls = 3}, FRAMES(PING PING PING PING),
     {.cause = DARI_CAUSE_LIMIT, .sent = 1008, .offset = 18, .limit = 3, .met = 4, .rule = "RFC 6455 10.4"}, 0},
};

#define SWITCHING                                                                                  \
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"            \
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"

/* Of a CA that has issued nothing: whoever trusts it trusts nobody. */
static const char CA[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBejCCAR+gAwIBAgIUFCNRk/ppA7AECCWq4rl4koaFdBcwCgYIKoZIzj0EAwIw\n"
    "ETEPMA0GA1UEAwwGbm9ib2R5MCAXDTI2MTEyMTE1NDc1N1oYDzIxMjYxMDI4MTU0\n"
    "NzU3WjARMQ8wDQYDVQQDDAZub2JvZHkwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNC\n"
    "AARux27CqsT1PpD7MzvOjzTonyoLRXNY72qIq1jnA3LX/n2K8jYCfTe/hVE56+aQ\n"
    "2mlcN7d6Ud/UP2WiOFLP0NHoo1MwUTAdBgNVHQ4EFgQUXUtTyugqpHwyLIjZ991v\n"
    "d42YmgIwHwYDVR0jBBgwFoAUXUtTyugqpHwyLIjZ991vd42YmgIwDwYDVR0TAQH/\n"
    "BAUwAwEB/zAKBggqhkjOPQQDAgNJADBGAiEA3rvVZlnV8kbLUkMruK/Xvo2n5uC1\n"
    "d5P01uLenYwMXckCIQCofl+IG7EfiGH0jb3nP4frlzcKlRQIO3SdbPspNeNo8A==\n"
    "-----END CERTIFICATE-----\n";

/* What a server, or a proxy, says to a client of ours; NULL is nothing at all, and "" its end. */
static const struct answer {
    const char *name, *text;
    size_t len;
    dari_limits_t limits;
    enum { PLAIN, EARLY, TLS, PROXY } way; /* EARLY: before it was asked. */
    struct end end;
} ANSWERS[] = {
    {"refused", FRAMES("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"), {0}, PLAIN,
     {.cause = DARI_CAUSE_REFUSED, .by = DARI_BY_PEER, .status = 401, .text = "with status 401"}},
    {"refused before it was asked", FRAMES("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"), {0}, EARLY,
     {.cause = DARI_CAUSE_REFUSED, .by = DARI_BY_PEER, .status = 503, .text = "with status 503"}},
    {"half an answer before it was asked, and the end", FRAMES("HTTP/1.1 1"), {0}, EARLY,
     {.cause = DARI_CAUSE_EOF, .by = DARI_BY_PEER}},
    {"an answer to another key", FRAMES(SWITCHING "\r\n"), {0}, PLAIN,
     {.cause = DARI_CAUSE_PROTOCOL, .by = DARI_BY_US, .rule = "RFC 6455 4.1", .text = "does not fit the key"}},
    {"no HTTP at all", FRAMES("SSH-2.0-OpenSSH\r\n\r\n"), {0}, PLAIN,
     {.cause = DARI_CAUSE_PROTOCOL, .by = DARI_BY_US, .rule = "RFC 9", .text = "HTTP/1.1"}},
    {"a long head", FRAMES(SWITCHING "\r\n"), {.max_head = 100}, PLAIN,
     {.cause = DARI_CAUSE_LIMIT, .by = DARI_BY_US, .offset = 100, .limit = 100, .met = 101, .rule = "RFC 6585 5"}},
    {"many lines", FRAMES(SWITCHING "\r\n"), {.max_headers = 2}, PLAIN,
     {.cause = DARI_CAUSE_LIMIT, .by = DARI_BY_US, .limit = 2, .met = 3, .rule = "RFC 6585 5"}},
    {"the end", FRAMES(""), {0}, PLAIN, {.cause = DARI_CAUSE_EOF, .by = DARI_BY_PEER}},
    {"nothing", NULL, 0, {.handshake_ms = 50}, PLAIN,
     {.cause = DARI_CAUSE_HANDSHAKE_TIMEOUT, .by = DARI_BY_US, .limit = 50, .met = 50, .text = "(50 ms)"}},
    {"nothing, where TLS should be", NULL, 0, {.handshake_ms = 50}, TLS,
     {.cause = DARI_CAUSE_HANDSHAKE_TIMEOUT, .by = DARI_BY_US, .limit = 50, .met = 50, .text = "(50 ms)"}},
    {"no TLS at all", FRAMES("HTTP/1.1 400 Bad Request\r\n\r\n"), {0}, TLS,
     {.cause = DARI_CAUSE_TLS, .by = DARI_BY_US, .alert = 50, .text = "TLS"}},
    {"a fatal alert, handshake_failure", FRAMES("\x15\x03\x03\0\x02\x02\x28"), {0}, TLS,
     {.cause = DARI_CAUSE_TLS, .by = DARI_BY_PEER, .alert = 40, .text = "alert"}},
    {"a proxy that refuses", FRAMES("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"), {0}, PROXY,
     {.cause = DARI_CAUSE_PROXY, .by = DARI_BY_NETWORK, .status = 407, .text = "407"}},
};

#endif
