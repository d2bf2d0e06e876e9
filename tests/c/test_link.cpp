// The header from C++: hooks are lambdas that capture nothing, and everything links.
#include "dari.h"
#include <chrono>
#include <cstdio>
#include <string>
#include <string_view>

namespace {

struct Talk {
    std::string heard;
    bool over = false;

    void open(dari_loop_t *loop, dari_conn_t conn) { dari_conn_send(loop, conn, DARI_TEXT, "hello", 5); }

    void message(dari_loop_t *loop, dari_conn_t conn, std::string_view text) {
        heard = text;
        dari_conn_close(loop, conn, 1000, "done");
    }
};

dari_handler_t echo() {
    dari_handler_t handler{};
    handler.struct_size = sizeof handler;
    handler.message = [](void *, dari_loop_t *loop, dari_conn_t conn, const dari_message_t *message) {
        dari_conn_send(loop, conn, message->kind, message->data, message->len);
    };
    return handler;
}

dari_handler_t client(Talk *talk) {
    dari_handler_t handler{};
    handler.struct_size = sizeof handler;
    handler.user = talk;
    handler.open = [](void *user, dari_loop_t *loop, dari_conn_t conn) {
        static_cast<Talk *>(user)->open(loop, conn);
    };
    handler.message = [](void *user, dari_loop_t *loop, dari_conn_t conn, const dari_message_t *message) {
        static_cast<Talk *>(user)->message(loop, conn, {message->data, message->len});
    };
    handler.close = [](void *user, dari_loop_t *, dari_conn_t, const dari_close_t *why) {
        static_cast<Talk *>(user)->over = why->was_clean == 1 && why->code == 1000;
    };
    return handler;
}

bool a_cpp_client_talks_to_a_cpp_server() {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    Talk talk;
    const dari_handler_t server = echo(), handler = client(&talk);
    dari_loop_t *loop = nullptr;
    dari_listener_t listener{};
    dari_conn_t conn{};
    bool good = dari_loop_new(nullptr, &loop) == DARI_OK &&
                dari_loop_listen(loop, "127.0.0.1:0", nullptr, &server, &listener) == DARI_OK;
    const std::string url = "ws://127.0.0.1:" + std::to_string(dari_listener_port(loop, listener)) + "/";
    good = good && dari_loop_connect(loop, url.c_str(), nullptr, &handler, &conn) == DARI_OK;
    while (good && !talk.over && std::chrono::steady_clock::now() < deadline)
        good = dari_loop_turn(loop, 10) == DARI_OK;
    if (!good) std::fprintf(stderr, "%s\n", dari_last_error());
    return dari_loop_free(loop) == DARI_OK && good && talk.over && talk.heard == "hello";
}

bool constants_are_what_they_are_in_c() {
    static_assert(DARI_ERR_ARGUMENT - DARI_ERR_STALE == 1, "negative constants stand in parentheses");
    static_assert(DARI_UNLIMITED == static_cast<size_t>(-1), "the largest size");
    return dari_version() == std::to_string(DARI_VERSION_MAJOR) + "." + std::to_string(DARI_VERSION_MINOR) +
                                 "." + std::to_string(DARI_VERSION_PATCH);
}

} // namespace

int main() {
    int passed = 0, failed = 0;
    const auto report = [&](const char *name, bool good) {
        std::printf("%s %s\n", good ? "ok" : "FAILED", name);
        ++(good ? passed : failed);
    };
    report("a_cpp_client_talks_to_a_cpp_server", a_cpp_client_talks_to_a_cpp_server());
    report("constants_are_what_they_are_in_c", constants_are_what_they_are_in_c());
    std::printf("%d passed, %d failed\n", passed, failed);
    return failed == 0 ? 0 : 1;
}
