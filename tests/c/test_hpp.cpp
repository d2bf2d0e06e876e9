// dari.hpp in use: what goes in as C++ comes out as C++. Whose callables live how
// long is in test_hpp_life.cpp.
#include "pair.hpp"
#include "raw.h"

#include <array>
#include <thread>
#include <unistd.h>
#include <unordered_map>
#include <unordered_set>
#include <vector>
#if __cplusplus >= 202002L
#include <span>
#endif

// ------------------------------------------------------------------- Messages

static void text_and_binary_come_back_as_what_they_are() {
    std::vector<std::string> heard;
    dari::handler echo, client;
    echo.message = [](dari::conn conn, dari::message message) { conn.send(message); };
    client.message = [&](dari::conn, const dari::message &message) {
        heard.push_back((message.is_text() ? "text " : "binary ") + std::string(message.text()));
    };
    pair both(echo, client);
    const std::string string = "string";
    const std::vector<unsigned char> vector{'v', 'e', 'c'};
    const std::array<std::byte, 2> array{std::byte{'a'}, std::byte{'r'}};
    CHECK(both.client.send("literal"));
    CHECK(both.client.send(string));
    CHECK(both.client.send(std::string_view(string).substr(3)));
    CHECK(both.client.send(vector));
    CHECK(both.client.send(std::vector<char>{'c'}));
    CHECK(both.client.send(array));
    CHECK(both.client.send(dari::binary(string)));
    CHECK(both.client.send(dari::text(vector)));
    CHECK(both.client.send(dari::message()));
    CHECK(both.client.send(dari::bytes()));
    UNTIL(both.loop, heard.size() == 10);
    const std::vector<std::string> expected{"text literal", "text string", "text ing", "binary vec", "binary c",
                                            "binary ar", "binary string", "text vec", "text ", "binary "};
    CHECK(heard == expected);
}

static void a_message_is_compressed_or_plain_as_it_says() {
    CHECK(dari::compressed("x").kind() == (DARI_TEXT | DARI_COMPRESS));
    CHECK(dari::plain(dari::bytes("x", 1)).kind() == (DARI_BINARY | DARI_PLAIN));
    std::size_t heard = 0;
    dari::handler server;
    server.message = [&](dari::conn, dari::message message) { heard += message.size(); };
    dari::listen_config how;
    dari::connect_config how_client;
    how.limits.deflate = how_client.limits.deflate = DARI_DEFLATE;
    pair both(server, {}, how, how_client);
    const std::string long_text(10000, 'x');
    CHECK(both.client.pause());
    const auto sends = [&](const dari::message &message) {
        const std::size_t before = both.client.backlog();
        both.client.send(message).or_throw();
        return both.client.backlog() - before;
    };
    CHECK(sends(dari::compressed(long_text)) < 1000);
    CHECK(sends(dari::plain(long_text)) >= long_text.size());
    UNTIL(both.loop, heard == 2 * long_text.size());
}

static void a_message_goes_in_parts_both_ways() {
    std::string heard;
    bool over = false;
    dari::handler server;
    server.part = [&](dari::conn, dari::message part, bool last) {
        CHECK(part.is_text());
        heard += part.text();
        over = last;
    };
    pair both(server);
    CHECK(both.client.send_part("one ", false));
    CHECK(both.client.send("whole") == DARI_ERR_STATE);
    CHECK(both.client.send_part("message", true));
    UNTIL(both.loop, over);
    CHECK(heard == "one message");
}

static void a_pong_brings_the_bytes_of_the_ping() {
    std::string heard;
    dari::handler client;
    client.pong = [&](dari::conn, dari::bytes data) { heard.assign(reinterpret_cast<const char *>(data.data()), data.size()); };
    pair both({}, client);
    CHECK(both.client.ping("abc"));
    UNTIL(both.loop, heard == "abc");
    CHECK(both.client.ping());
    UNTIL(both.loop, heard.empty());
}

static void topics_and_payloads_reach_many() {
    std::string heard;
    dari::handler client;
    client.message = [&](dari::conn, dari::message message) { heard += message.text(); };
    pair both({}, client);
    CHECK(both.server.subscribe("news"));
    CHECK(both.loop.subscribers("news") == 1);
    CHECK(both.loop.publish("news", "a"));
    CHECK(both.loop.publish("news", "b", both.server));
    CHECK(both.loop.publish(std::string("news"), "c"));
    dari::payload made("d"), payload = std::move(made);
    CHECK(both.server.send(payload));
    CHECK(both.server.send(made) == DARI_ERR_ARGUMENT);
    CHECK(both.server.unsubscribe("news"));
    CHECK(both.loop.subscribers("news") == 0);
    UNTIL(both.loop, heard == "acd");
}

// ---------------------------------------------------------------- Connections

static void the_close_tells_its_story_and_is_remembered() {
    bool over = false;
    std::string text;
    dari::handler server;
    bool failed = false;
    server.error = [&] { failed = true; };
    server.close = [&](dari::conn conn, dari::close_info why) {
        CHECK(why.cause() == DARI_CAUSE_PEER && why.by() == DARI_BY_PEER);
        CHECK(why.code() == 4001 && why.sent_code() == 4001 && why.reason() == "bye");
        CHECK(why.was_clean() && why.opened() && why.rule().data() == nullptr);
        CHECK(why.offset() == 0 && why.limit() == 0 && why.met() == 0 && why.http_status() == 0);
        CHECK(why.unsent_bytes() == 0 && why.unsent_messages() == 0 && why.os_error() == 0 && why.tls_alert() == 0);
        CHECK(*conn.data<int>() == 7 && conn.state() == DARI_STATE_CLOSED);
        text = why.text();
        over = true;
    };
    pair both(server);
    int seven = 7;
    CHECK(both.server.set_data(&seven));
    const std::string peer = both.server.peer();
    CHECK(peer.rfind("127.0.0.1:", 0) == 0);
    CHECK(both.client.close(4001, "bye"));
    CHECK(both.client.send("late") == DARI_ERR_STATE);
    UNTIL(both.loop, over && both.loop.stats().closes[DARI_CAUSE_LOCAL] == 1);
    CHECK(both.server.send("late") == DARI_ERR_STALE);
    CHECK(both.server.peer().empty());
    CHECK(both.loop.stats().closes[DARI_CAUSE_PEER] == 1);
    bool remembered = false;
    for (std::size_t nth = 0; const auto past = both.loop.past(nth); nth++) {
        if (past->id() != both.server) continue;
        remembered = past->peer() == peer && past->why().text() == text && past->lived() < 1h;
        const auto ago = std::chrono::system_clock::now() - past->ended();
        CHECK(ago > -1s && ago < 1h);
    }
    CHECK(remembered && !failed);
}

static void an_upgrade_is_looked_at_and_accepted() {
    dari::handler server;
    server.upgrade = [](dari::conn conn) {
        const dari::request request = conn.request();
        CHECK(request.method() == "GET" && request.target() == "/" && request.body().empty());
        CHECK(request.header("x-test") == "1" && request.header("X-Test", 1) == "2");
        CHECK(request.header("X-Test", 2).data() == nullptr && request.header("Origin") == "https://example.org");
        CHECK(conn.accept("second", {{"X-Answer", "yes"}}));
        CHECK(conn.accept() == DARI_ERR_STATE);
    };
    dari::listen_config how;
    how.protocols = {"first", "second"};
    how.origins = {"https://example.org"};
    dari::connect_config how_client;
    how_client.protocols = {"first", "second"};
    how_client.headers = {{"X-Test", "1"}, {"X-Test", "2"}};
    how_client.origin = "https://example.org";
    pair both(server, {}, how, how_client);
    CHECK(both.client.protocol() == "second" && both.server.protocol() == "second");
    CHECK(both.client.certificate().empty());
    std::string rest = "old";
    int fd = -1;
    CHECK(both.client.release(fd, rest) && fd >= 0 && rest.empty());
    CHECK(close(fd) == 0);
}

static void a_request_is_answered_whole_and_in_pieces() {
    dari::handler server;
    server.http = [](dari::conn conn) {
        if (conn.request().target() == "/whole") {
            CHECK(conn.request().body() == "body");
            CHECK(conn.respond(200, "a page", {{"X-Answer", "whole"}}));
            CHECK(conn.respond(200) == DARI_ERR_STATE);
        } else {
            const std::vector<dari::header> lines{{"X-Answer", "pieces"}};
            CHECK(conn.respond_begin(201, lines) && conn.respond_piece("a ") && conn.respond_piece(std::vector<char>{'p'}));
            CHECK(conn.respond_piece({}));
        }
    };
    dari::loop loop;
    const auto listener = loop.listen("127.0.0.1:0", server);
    const int fd = raw_connect(listener.port());
    char got[2048] = "";
    raw_send(fd, "POST /whole HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nbody");
    raw_read_until(loop.raw(), fd, got, sizeof got, "\r\n\r\na page");
    CHECK(strncmp(got, "HTTP/1.1 200", 12) == 0 && strstr(got, "X-Answer: whole\r\n") != nullptr);
    raw_send(fd, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    raw_read_until(loop.raw(), fd, got, sizeof got, "2\r\na \r\n1\r\np\r\n0\r\n\r\n");
    CHECK(strncmp(got, "HTTP/1.1 201", 12) == 0 && strstr(got, "X-Answer: pieces\r\n") != nullptr);
    close(fd);
}

static void limits_and_doors_are_as_they_were_set() {
    std::string rule, which;
    dari::handler server, refused;
    server.close = [&](dari::conn, dari::close_info why) { rule = why.cause() == DARI_CAUSE_TOO_BIG ? why.rule() : "no"; };
    server.limited = [&](dari::limited_info what) {
        which = what.which() == DARI_LIMITED_CONNS && what.limit() == 2 && what.count() == 1 ? what.peer() : "no";
        CHECK(what.listener().port() != 0);
    };
    dari::listen_config how;
    how.limits.max_message = 10;
    how.max_conns = 2; // Both ends of one are on this loop.
    pair both(server, {}, how);
    bool over = false;
    refused.close = [&](dari::conn, dari::close_info why) { over = why.http_status() == 503; };
    both.loop.connect(url_of(both.listener), refused);
    UNTIL(both.loop, over && !which.empty());
    CHECK(which.rfind("127.0.0.1:", 0) == 0);
    both.client.send("more than ten bytes").or_throw();
    UNTIL(both.loop, !rule.empty());
    CHECK(rule.find("longer than the limit") != std::string::npos);
}

static void every_connection_of_a_loop_is_walked_over() {
    pair both;
    std::unordered_set<dari::conn> seen;
    for (const dari::conn conn : both.loop.conns()) seen.insert(conn);
    CHECK(seen.size() == 2 && seen.count(both.client) == 1 && seen.count(both.server) == 1);
    CHECK(both.client.dial() && !both.server.dial());
    CHECK(both.client.abort());
    UNTIL(both.loop, !(both.loop.conns().begin() != both.loop.conns().end()));
}

static void ids_are_values() {
    pair both;
    std::unordered_map<dari::conn_id, std::string> names;
    names[both.client] = "client";
    names[both.server] = "server";
    const dari::conn_id id = both.client;
    CHECK(names.size() == 2 && names.at(id) == "client" && id == both.client && both.client != both.server);
    CHECK((both.client < both.server) != (both.server < both.client));
    CHECK(both.loop.at(id).state() == DARI_STATE_OPEN && both.loop.at(both.listener).port() != 0);
    CHECK(both.client.loop().raw() == both.loop.raw());
    const dari::conn none;
    CHECK(!none && none.send("x") == DARI_ERR_ARGUMENT && none.state() == DARI_STATE_CLOSED && none.peer().empty());
    CHECK(dari_conn_state(both.loop.raw(), both.client) == DARI_STATE_OPEN);
    CHECK(both.listener.close() && both.listener.close() == DARI_ERR_STALE);
}

static void a_client_tells_of_its_attempts_until_it_is_stopped() {
    std::vector<std::uint32_t> attempts;
    dari::loop loop;
    dari::listener gone = loop.listen("127.0.0.1:0", {});
    const std::string url = url_of(gone);
    gone.close().or_throw();
    int closes = 0;
    dari::handler on;
    on.close = [&](dari::conn, dari::close_info why) { closes += why.will_retry(); };
    on.retry = [&](dari::dial dial, std::uint32_t attempt, dari::milliseconds delay) {
        CHECK(delay <= 2ms);
        attempts.push_back(attempt);
        if (attempt == 3) CHECK(dial.stop());
    };
    dari::connect_config how;
    how.retry_ms = 1;
    how.retry_max_ms = 2;
    loop.connect(url, on, how);
    UNTIL(loop, attempts.size() == 3);
    for (int i = 0; i < 20; i++) loop.turn(1ms);
    CHECK(closes == 3 && attempts == (std::vector<std::uint32_t>{1, 2, 3}));
}

static void the_log_has_lines_with_their_connections() {
    std::string events;
    dari::loop_config how;
    how.log_level = DARI_LOG_DEBUG;
    how.log = [&](dari::log_line line) {
        CHECK(line.level() <= DARI_LOG_DEBUG && !line.text().empty());
        events += std::string(line.event()) + (line.conn() ? "! " : " ");
        if (line.event() == "open") CHECK(line.conn().state() == DARI_STATE_OPEN && line.peer().rfind("127.0.0.1:", 0) == 0);
    };
    dari::loop loop(how);
    const auto listener = loop.listen("127.0.0.1:0", {});
    loop.connect(url_of(listener), {});
    UNTIL(loop, events.find("open! open! ") != std::string::npos);
    CHECK(events.find("listen ") != std::string::npos);
}

// --------------------------------------------------------------------- Errors

static void what_cannot_be_made_throws_the_sentence() {
    dari::loop loop;
    const auto thrown = [](auto &&call) {
        try {
            call();
        } catch (const dari::error &error) {
            CHECK(!dari::status(error.status()));
            return std::to_string(error.status().raw()) + " " + error.what();
        }
        return std::string("nothing was thrown");
    };
    CHECK(thrown([&] { loop.connect("nonsense", {}); }).rfind("-1 dari_loop_connect: ", 0) == 0);
    CHECK(thrown([&] { loop.listen("nonsense", {}); }).rfind("-1 dari_loop_listen: ", 0) == 0);
    CHECK(thrown([&] { loop.watch(-1, DARI_WATCH_READ, [] {}); }).rfind("-9 dari_watch_new: ", 0) == 0);
    CHECK(thrown([] { dari::payload(dari::text(dari::bytes("\xff", 1))); }).rfind("-1 dari_payload_new: ", 0) == 0);
    CHECK(thrown([] { dari::tls::server("/nonsense", "/nonsense"); }).rfind("-9 dari_tls_server_new: ", 0) == 0);
    CHECK(thrown([] { dari::tls::client("/dev/null"); }).rfind("-8 dari_tls_client_new: ", 0) == 0);
    CHECK(thrown([] { dari::tls::server_pem("no", "no"); }).rfind("-8 dari_tls_server_new_pem: ", 0) == 0);
    CHECK(thrown([&] { loop.at(dari::conn_id(dari_conn_t{7})).send("x").or_throw(); }).rfind("-2 dari_conn_send: ", 0) == 0);
    std::thread([&] {
        CHECK(thrown([&] { loop.after(1ms, [] {}); }).rfind("-4 dari_timer_new: ", 0) == 0);
        CHECK(loop.publish("news", "x") == DARI_ERR_THREAD);
    }).join();
    const dari::status full = DARI_ERR_FULL;
    CHECK(!full && full.text() == std::string(dari_status_text(DARI_ERR_FULL)));
    CHECK(dari::status(DARI_BUFFERED) && dari::status(DARI_BUFFERED).or_throw().is_buffered());
    CHECK(dari::version() == std::string(dari_version()) && dari::cause_text(DARI_CAUSE_EOF)[0] != '\0');
}

// ------------------------------------------------------------------ Callables

static int greeted;
static void greet() { greeted++; }

struct counter {
    int messages = 0;
    void operator()(dari::conn, const dari::message &) { messages++; }
};

static void whatever_can_be_called_is_a_hook() {
    counter count;
    greeted = 0;
    dari::handler client, server;
    client.close = greet;
    client.message = [](dari::conn conn) { CHECK(conn.close()); }; // The first of its arguments will do.
    server.message = std::ref(count);
    server.close = [](auto conn, auto why) {
        CHECK(why.opened());
        conn.loop().stop();
    };
    pair both(server, client);
    CHECK(both.client.send("hi"));
    UNTIL(both.loop, count.messages == 1);
    CHECK(both.server.send("hi"));
    both.loop.run();
    UNTIL(both.loop, greeted == 1);
}

#if __cplusplus >= 202002L
static void designated_initialisers_and_spans_do() {
    dari::loop loop;
    std::string heard;
    const auto listener = loop.listen("127.0.0.1:0",
                                      {.message = [](auto conn, auto message) { conn.send(message); }},
                                      {.limits = {.max_message = 100}, .max_conns = 10});
    loop.connect(url_of(listener),
                 {.open = [](auto conn) { conn.send(std::vector<std::byte>(3)); },
                  .message =
                      [&](auto, auto message) {
                          const std::span<const std::byte> span = message.data();
                          heard.assign(span.size(), 'x');
                      }},
                 {.limits = {.max_message = 100}});
    UNTIL(loop, heard == "xxx");
}
#endif

int main(int argc, char **argv) {
    static const check_test tests[] = {
        TEST(text_and_binary_come_back_as_what_they_are),
        TEST(a_message_is_compressed_or_plain_as_it_says),
        TEST(a_message_goes_in_parts_both_ways),
        TEST(a_pong_brings_the_bytes_of_the_ping),
        TEST(topics_and_payloads_reach_many),
        TEST(the_close_tells_its_story_and_is_remembered),
        TEST(an_upgrade_is_looked_at_and_accepted),
        TEST(a_request_is_answered_whole_and_in_pieces),
        TEST(limits_and_doors_are_as_they_were_set),
        TEST(every_connection_of_a_loop_is_walked_over),
        TEST(ids_are_values),
        TEST(a_client_tells_of_its_attempts_until_it_is_stopped),
        TEST(the_log_has_lines_with_their_connections),
        TEST(what_cannot_be_made_throws_the_sentence),
        TEST(whatever_can_be_called_is_a_hook),
#if __cplusplus >= 202002L
        TEST(designated_initialisers_and_spans_do),
#endif
    };
    return check_all(tests, argc, argv);
}
