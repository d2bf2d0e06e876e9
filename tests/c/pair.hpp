// What the tests of dari.hpp share: a server and a client on one loop.
#ifndef PAIR_HPP
#define PAIR_HPP

#include "check.h"

#include "dari.hpp"
#include <string>

using namespace std::chrono_literals;

/* Turns the loop until the condition holds; the deadline is a failure. */
#define UNTIL(loop, condition)                                                                     \
    do {                                                                                           \
        const long check_end = check_now_ms() + CHECK_DEADLINE_MS;                                 \
        while (!(condition) && check_now_ms() < check_end) (loop).turn(10ms);                      \
        if (!(condition)) check_fail(__FILE__, __LINE__, "in time: " #condition);                  \
    } while (0)

inline std::string url_of(dari::listener listener, const std::string &path = "/") {
    return "ws://127.0.0.1:" + std::to_string(listener.port()) + path;
}

// Both ends, open. Hooks that the test gives are kept, but for `open`.
struct pair {
    dari::loop loop;
    dari::listener listener;
    dari::conn client, server;

    explicit pair(dari::handler on_server = {}, dari::handler on_client = {}, const dari::listen_config &how = {},
                  const dari::connect_config &how_client = {}) {
        bool is_open = false;
        on_server.open = [this](dari::conn conn) { server = conn; };
        on_client.open = [&is_open] { is_open = true; };
        listener = loop.listen("127.0.0.1:0", on_server, how);
        client = loop.connect(url_of(listener), on_client, how_client);
        UNTIL(loop, is_open && server);
    }
    pair(pair &&) = delete; // Its hooks know where it is.
};

// Something that callables hold: how many of them do is told by count().
class token {
public:
    long count() const { return held_.use_count() - 1; }
    std::shared_ptr<int> hold() const { return held_; }

private:
    std::shared_ptr<int> held_ = std::make_shared<int>(0);
};

template <std::size_t N> int check_all(const check_test (&tests)[N], int argc, char **argv) {
    return check_run(tests, N, argc, argv);
}

#endif
