// A client in C++: it says hello to an echo, hears it three times and goes.
//
//     ./client_cpp ws://127.0.0.1:9001/
#include <dari.hpp>

#include <iostream>

int main(int argc, char **argv) try {
    // Before the loop, and so there for as long as its hooks may be called.
    int left = 3;
    bool clean = false;

    dari::loop loop;
    dari::handler on;
    on.open = [](dari::conn conn) { conn.send("hello"); };
    on.message = [&](dari::conn conn, dari::message message) {
        std::cout << message.text() << '\n';
        if (--left == 0) conn.close(1000, "done");
        else conn.send("again");
    };
    on.close = [&](dari::conn, dari::close_info why) {
        std::cout << "closed: " << why.text() << '\n';
        clean = why.was_clean();
        loop.stop();
    };
    loop.connect(argc > 1 ? argv[1] : "ws://127.0.0.1:9001/", on);
    loop.run();
    return clean ? 0 : 1;
} catch (const std::exception &error) {
    std::cerr << "client: " << error.what() << '\n';
    return 1;
}
