// dari.hpp: who owns what for how long, and where exceptions go. Callables hold
// a token, so that one that is freed too late, too early or twice is seen.
#include "pair.hpp"

#include <chrono>
#include <stdexcept>
#include <thread>
#include <type_traits>
#include <unistd.h>

// ------------------------------------------------------------------ Callables

static void hooks_of_a_listener_live_as_long_as_the_loop() {
    token token;
    dari::handler on;
    on.message = [held = token.hold()](dari::conn conn, dari::message message) { conn.send(message); };
    {
        dari::loop loop;
        const auto listener = loop.listen("127.0.0.1:0", on);
        on = {};
        CHECK(listener.close());
        loop.turn();
        CHECK(token.count() == 1);
    }
    CHECK(token.count() == 0);
}

static void hooks_of_a_client_live_until_its_close_is_over() {
    token token;
    bool over = false;
    dari::loop loop;
    const auto listener = loop.listen("127.0.0.1:0", {});
    {
        dari::handler on;
        on.open = [held = token.hold()](dari::conn conn) { conn.close(); };
        on.close = [&, held = token.hold()] {
            CHECK(token.count() == 2);
            over = true;
        };
        loop.connect(url_of(listener), on);
    }
    UNTIL(loop, over);
    CHECK(token.count() == 0);
}

static void hooks_of_a_client_without_a_close_go_as_well() {
    token token;
    dari::loop loop;
    const auto listener = loop.listen("127.0.0.1:0", {});
    {
        dari::handler on;
        on.open = [held = token.hold()](dari::conn conn) { conn.abort(); };
        loop.connect(url_of(listener), on);
    }
    UNTIL(loop, token.count() == 0);
}

static void hooks_of_a_client_that_connects_again_stay() {
    token token;
    int opened = 0;
    dari::handler server;
    server.open = [](dari::conn conn) { conn.close(1001); };
    dari::loop loop;
    const auto listener = loop.listen("127.0.0.1:0", server);
    {
        dari::handler on;
        on.open = [&opened, held = token.hold()] { opened++; };
        dari::connect_config how;
        how.retry_ms = 1;
        loop.connect(url_of(listener), on, how);
    }
    UNTIL(loop, opened == 3);
    CHECK(token.count() == 1);
    loop.free();
    CHECK(token.count() == 0);
}

static void hooks_of_calls_that_failed_are_freed_at_once() {
    token token;
    dari::loop loop;
    int failures = 0;
    const auto fails = [&](auto &&call) {
        try {
            call([held = token.hold()] {});
        } catch (const dari::error &) {
            failures++;
        }
        CHECK(token.count() == 0);
    };
    const auto with = [](auto hook) {
        dari::handler on;
        on.open = hook;
        return on;
    };
    fails([&](auto hook) { loop.listen("nonsense", with(hook)); });
    fails([&](auto hook) { loop.connect("nonsense", with(hook)); });
    fails([&](auto hook) { loop.watch(-1, DARI_WATCH_READ, hook); });
    std::thread([&] { fails([&](auto hook) { loop.every(1ms, hook); }); }).join();
    CHECK(failures == 4);
}

static void a_callable_may_think_of_its_loop_when_that_is_gone() {
    dari::status told, cancelled;
    {
        dari::loop loop;
        const auto ask = [&](dari::timer *timer) {
            told = timer->loop().publish("news", "x");
            cancelled = timer->cancel();
            delete timer;
        };
        const std::shared_ptr<dari::timer> held(new dari::timer(loop.after(1h, [] {})), ask);
        loop.after(1h, [held] {});
    }
    CHECK(told == DARI_ERR_ARGUMENT && cancelled == DARI_ERR_ARGUMENT);
}

static void two_clients_may_share_their_hooks() {
    token token;
    int opened = 0;
    dari::handler on;
    on.open = [&opened, held = token.hold()](dari::conn conn) {
        opened++;
        conn.close();
    };
    dari::loop loop;
    const auto listener = loop.listen("127.0.0.1:0", {});
    loop.connect(url_of(listener), on);
    loop.connect(url_of(listener), on);
    CHECK(token.count() == 1);
    on = {};
    UNTIL(loop, opened == 2 && token.count() == 0);
}

// ---------------------------------------------------------- Timers and watches

static void timers_are_freed_when_they_have_fired_or_were_cancelled() {
    token token;
    int once = 0, thrice = 0;
    dari::loop loop;
    loop.after(1ms, [&, held = token.hold()] { once++; });
    const dari::timer never = loop.after(1h, [&, held = token.hold()](dari::timer) { once++; });
    const dari::timer repeats = loop.every(1ms, [&, held = token.hold()](dari::timer timer) {
        if (++thrice < 3) return;
        CHECK(timer.cancel() && !timer.cancel());
        CHECK(token.count() == (never ? 2 : 0)); // What it holds is there while it runs.
    });
    CHECK(token.count() == 3 && repeats != never);
    UNTIL(loop, thrice == 3 && once == 1);
    CHECK(token.count() == 1);
    CHECK(never.cancel() && token.count() == 0);
    CHECK(never.cancel() == DARI_ERR_STALE);
    loop.every(1h, [held = token.hold()] {});
    loop.every(0ms, 1h, [&, held = token.hold()] { once++; });
    UNTIL(loop, once == 2);
    loop.free();
    CHECK(token.count() == 0);
}

static void a_watch_is_freed_when_it_is_cancelled_even_by_itself() {
    token token;
    int fds[2];
    std::string heard;
    CHECK(pipe(fds) == 0);
    dari::loop loop;
    loop.watch(fds[0], DARI_WATCH_READ, [&, held = token.hold()](dari::watch watch, std::uint32_t events) {
        char c;
        CHECK(events == DARI_WATCH_READ);
        if (read(fds[0], &c, 1) == 1) heard += c;
        if (heard == "ab") CHECK(watch.cancel());
    });
    CHECK(write(fds[1], "abc", 3) == 3);
    UNTIL(loop, heard == "ab");
    CHECK(token.count() == 0);
    loop.turn();
    CHECK(heard == "ab");
    close(fds[0]);
    close(fds[1]);
}

static void a_shutdown_tells_once_when_it_is_done() {
    token token;
    int told = 0;
    pair both;
    CHECK(both.loop.shutdown(0ms, 1s, [&, held = token.hold()](std::size_t dropped) {
        CHECK(dropped == 0);
        told++;
    }));
    CHECK(both.loop.shutdown(0ms, 1s, [held = token.hold()] {}) == DARI_ERR_STATE);
    CHECK(token.count() == 1);
    both.loop.run();
    CHECK(told == 1 && token.count() == 0);
}

// -------------------------------------------------------------------- Remotes

static void remote_calls_come_from_other_threads_and_are_freed_once() {
    token token;
    std::string heard;
    dari::handler client;
    client.message = [&](dari::conn, dari::message message) { heard += message.text(); };
    client.close = [&](dari::conn conn, dari::close_info why) {
        heard += std::to_string(why.code());
        conn.loop().stop();
    };
    pair both({}, client);
    CHECK(both.server.subscribe("news"));
    const dari::remote remote(both.loop);
    std::vector<dari::remote> all;
    all.emplace_back(both.loop);
    std::thread([&, id = dari::conn_id(both.server)] {
        CHECK(remote.send(id, "sent "));
        std::size_t taken = 0;
        CHECK(remote.publish("news", "published "));
        CHECK(dari::remote::publish_all(all, "news", "to all ", {}, &taken) && taken == 1);
        CHECK(remote.call([id, held = token.hold(), text = std::make_unique<std::string>("called ")](dari::loop_ref loop) {
            loop.at(id).send(*text);
        }));
        CHECK(remote.call([held = token.hold()] {}));
        CHECK(remote.close(id, 4000, "bye"));
        CHECK(token.count() == 2);
    }).join();
    both.loop.run();
    CHECK(heard == "sent published to all called 4000");
    CHECK(token.count() == 0);
}

static void remote_calls_are_freed_with_the_loop_and_without_it() {
    token token;
    auto loop = std::make_unique<dari::loop>();
    dari::remote made(*loop);
    const dari::remote remote = std::move(made);
    CHECK(remote.call([held = token.hold()] { CHECK(false); }));
    CHECK(token.count() == 1);
    loop.reset();
    CHECK(token.count() == 0);
    CHECK(remote.call([held = token.hold()] { CHECK(false); }) == DARI_ERR_STALE);
    CHECK(token.count() == 0 && remote.stop());
    CHECK(made.call([] {}) == DARI_ERR_ARGUMENT);
}

// ----------------------------------------------------------------- Exceptions

template <class F> static std::string thrown_by(F &&call) {
    try {
        call();
    } catch (const std::exception &error) {
        return error.what();
    }
    return "nothing";
}

static void an_exception_of_a_hook_leaves_run_and_the_loop_goes_on() {
    int messages = 0;
    dari::handler server;
    server.message = [&](dari::conn conn, dari::message) {
        if (++messages == 3) conn.loop().stop();
        else throw std::runtime_error("message " + std::to_string(messages));
    };
    pair both(server);
    // Both come in one turn: the first is the one that is told.
    CHECK(both.client.send("a") && both.client.send("b"));
    CHECK(thrown_by([&] { both.loop.run(); }) == "message 1");
    UNTIL(both.loop, messages == 2);
    CHECK(both.client.send("c"));
    CHECK(thrown_by([&] { both.loop.run(); }) == "nothing");
    CHECK(messages == 3);
}

static void exceptions_leave_turn_from_every_callable() {
    int fds[2];
    CHECK(pipe(fds) == 0);
    dari::loop loop;
    dari::remote remote(loop);
    const auto runs = [&] {
        bool ran = false;
        loop.after(0ms, [&](dari::timer timer) {
            ran = true;
            timer.loop().stop();
        });
        loop.run();
        return ran;
    };
    const auto turn = [&] {
        return thrown_by([&] {
            for (int i = 0; i < 100; i++) loop.turn(10ms);
        });
    };
    CHECK(runs());
    loop.after(0ms, [] { throw std::runtime_error("after"); });
    CHECK(turn() == "after");
    loop.every(1ms, [](dari::timer timer) {
        timer.cancel();
        throw std::runtime_error("every");
    });
    CHECK(turn() == "every");
    const auto watch = loop.watch(fds[1], DARI_WATCH_WRITE, [] { throw std::runtime_error("watch"); });
    CHECK(turn() == "watch" && watch.cancel());
    CHECK(remote.call([] { throw std::runtime_error("call"); }));
    CHECK(turn() == "call");
    CHECK(runs()); // None of them has stopped it before it began.
    CHECK(loop.shutdown(0ms, 0ms, [] { throw std::runtime_error("done"); }));
    CHECK(turn() == "done");
    close(fds[0]);
    close(fds[1]);
}

static void an_exception_of_a_close_leaves_free_but_no_destructor() {
    const auto listen = [](dari::loop &loop) {
        dari::handler on;
        on.close = [] { throw std::runtime_error("close"); };
        const auto listener = loop.listen("127.0.0.1:0", on);
        bool is_open = false;
        dari::handler client;
        client.open = [&] { is_open = true; };
        loop.connect(url_of(listener), client);
        UNTIL(loop, is_open);
    };
    dari::loop loop;
    listen(loop);
    CHECK(thrown_by([&] { loop.free(); }) == "close");
    CHECK(loop.raw() == nullptr && thrown_by([&] { loop.free(); }) == "nothing");
    dari::loop other;
    listen(other);
    loop = std::move(other);
}

static void what_run_and_free_refuse_inside_a_hook_is_an_error() {
    dari::loop loop;
    int told = 0;
    loop.after(0ms, [&] {
        CHECK(thrown_by([&] { loop.run(); }).rfind("dari_loop_run: called inside a hook", 0) == 0);
        CHECK(thrown_by([&] { loop.turn(); }).rfind("dari_loop_turn: called inside a hook", 0) == 0);
        CHECK(thrown_by([&] { loop.free(); }).rfind("dari_loop_free: called inside a hook", 0) == 0);
        told++;
        throw std::runtime_error("told");
    });
    CHECK(thrown_by([&] { loop.run(); }) == "told");
    CHECK(told == 1 && loop.raw() != nullptr);
}

// --------------------------------------------------------------------- Moving

static void a_loop_moves_and_its_ids_follow() {
    static_assert(!std::is_copy_constructible_v<dari::loop> && std::is_nothrow_move_assignable_v<dari::loop>);
    static_assert(!std::is_copy_constructible_v<dari::remote> && std::is_nothrow_move_constructible_v<dari::remote>);
    static_assert(!std::is_copy_constructible_v<dari::payload> && std::is_nothrow_move_constructible_v<dari::payload>);
    static_assert(!std::is_copy_constructible_v<dari::tls> && std::is_nothrow_move_constructible_v<dari::tls>);
    static_assert(std::is_trivially_copyable_v<dari::conn> && std::is_trivially_copyable_v<dari::message>);
    std::string heard;
    dari::handler echo;
    echo.message = [&](dari::conn, dari::message message) { heard = message.text(); };
    pair both(echo);
    dari::loop moved = std::move(both.loop);
    CHECK(both.client.send("hello"));
    UNTIL(moved, heard == "hello");
    CHECK(both.loop.raw() == nullptr && both.loop.stop() == DARI_ERR_ARGUMENT && both.loop.subscribers("x") == 0);
    CHECK(!(both.loop.conns().begin() != both.loop.conns().end()) && !both.loop.past());
    CHECK(thrown_by([&] { both.loop.turn(); }) == "dari_loop_turn: loop is NULL");
    CHECK(thrown_by([&] { both.loop.after(0ms, [] {}); }) == "dari_timer_new: loop is NULL");
    dari::loop &same = moved;
    moved = std::move(same);
    CHECK(moved.fd() >= 0 && moved.timeout() >= 0ms);
    both.loop = std::move(moved);
    CHECK(both.client.send("again"));
    UNTIL(both.loop, heard == "again");
}

int main(int argc, char **argv) {
    static const check_test tests[] = {
        TEST(hooks_of_a_listener_live_as_long_as_the_loop),
        TEST(hooks_of_a_client_live_until_its_close_is_over),
        TEST(hooks_of_a_client_without_a_close_go_as_well),
        TEST(hooks_of_a_client_that_connects_again_stay),
        TEST(hooks_of_calls_that_failed_are_freed_at_once),
        TEST(a_callable_may_think_of_its_loop_when_that_is_gone),
        TEST(two_clients_may_share_their_hooks),
        TEST(timers_are_freed_when_they_have_fired_or_were_cancelled),
        TEST(a_watch_is_freed_when_it_is_cancelled_even_by_itself),
        TEST(a_shutdown_tells_once_when_it_is_done),
        TEST(remote_calls_come_from_other_threads_and_are_freed_once),
        TEST(remote_calls_are_freed_with_the_loop_and_without_it),
        TEST(an_exception_of_a_hook_leaves_run_and_the_loop_goes_on),
        TEST(exceptions_leave_turn_from_every_callable),
        TEST(an_exception_of_a_close_leaves_free_but_no_destructor),
        TEST(what_run_and_free_refuse_inside_a_hook_is_an_error),
        TEST(a_loop_moves_and_its_ids_follow),
    };
    return check_all(tests, argc, argv);
}
