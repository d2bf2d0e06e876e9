// A bot for the chat in C++: it greets whoever comes, and answers !help and !time.
//
//     ./bot_cpp ws://127.0.0.1:9001/?nick=bot
//
// When the chat goes away the bot waits, and joins again. Ctrl-C ends it.
#include <dari.hpp>

#include <csignal>
#include <ctime>
#include <iostream>
#include <string>
#include <string_view>

namespace {

const dari::remote *remote_of_main;

// The one call that a signal handler may make: loop.run() returns.
void on_signal(int) { remote_of_main->stop(); }

std::string now() {
    const std::time_t seconds = std::time(nullptr);
    char text[32];
    return std::string(text, std::strftime(text, sizeof text, "%H:%M:%S UTC", std::gmtime(&seconds)));
}

// What there is to say to a line of the chat (see chat.c): to most, nothing.
std::string answer(std::string_view line) {
    if (line.substr(0, 2) == "+ ") { // "+ NAME joined", and names hold no blanks.
        line.remove_prefix(2);
        return "Hello, " + std::string(line.substr(0, line.find(' '))) + "! I answer !help and !time.";
    }
    const std::size_t end = line.find("> "); // "<NAME> TEXT"
    if (line.substr(0, 1) != "<" || end == line.npos) return {};
    line.remove_prefix(end + 2);
    if (line == "!help") return "!time tells the time. That is all I know.";
    if (line == "!time") return "It is " + now() + ".";
    return {};
}

} // namespace

int main(int argc, char **argv) try {
    bool lost = false;

    dari::loop loop;
    const dari::remote remote(loop);
    dari::handler on;
    on.open = [] { std::cerr << "bot: here\n"; };
    on.message = [](dari::conn conn, dari::message message) {
        if (const std::string words = answer(message.text()); !words.empty()) conn.send(words);
    };
    on.close = [&](dari::conn, dari::close_info why) {
        std::cerr << "bot: " << dari::cause_text(why.cause()) << ", code " << why.code() << '\n';
        lost = !why.will_retry();
        if (lost) loop.stop();
    };
    on.retry = [](dari::dial, unsigned attempt, dari::milliseconds delay) {
        std::cerr << "bot: attempt " << attempt << " in " << delay.count() << " ms\n";
    };

    dari::connect_config how;
    how.retry_ms = 500;
    loop.connect(argc > 1 ? argv[1] : "ws://127.0.0.1:9001/?nick=bot", on, how);
    remote_of_main = &remote;
    std::signal(SIGINT, on_signal);
    std::signal(SIGTERM, on_signal);
    loop.run();
    return lost ? 1 : 0;
} catch (const std::exception &error) {
    std::cerr << "bot: " << error.what() << '\n';
    return 1;
}
