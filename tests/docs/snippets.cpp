// What docs/c-api/cpp.md shows and no example does. check.sh compiles it.
#include <dari.hpp>

#include <memory>
#include <string>
#include <thread>
#include <unordered_map>

struct guest {
    std::string name;
};

void keep_guests(dari::loop &loop) {
    auto guests = std::make_shared<std::unordered_map<dari::conn_id, guest>>();
    dari::handler on;
    on.open = [guests](dari::conn conn) { (*guests)[conn].name = conn.peer(); };
    on.message = [guests](dari::conn conn, dari::message message) {
        const std::string &name = guests->at(conn).name;
        conn.loop().publish("lobby", name + ": " + std::string(message.text()), conn);
    };
    on.close = [guests](dari::conn conn) { guests->erase(conn); };
    loop.listen("[::]:9001", on);
}

void send_with_care(dari::conn conn, const std::string &text) {
    conn.send(text); // Who is gone need not hear it.
    if (conn.send(text) == DARI_ERR_FULL) conn.close(1013, "too slow");
    if (conn.send(text).or_throw().is_buffered()) conn.pause(); // Until `drain`.
}

void work_elsewhere(dari::conn conn, const dari::remote &remote) {
    std::thread([&remote, id = dari::conn_id(conn)] { remote.send(id, "the answer"); }).detach();
}
