// A client in C++: hooks are captureless lambdas, and `user` is the object.
// It says hello to an echo, hears it three times and goes.
//
//     ./client_cpp ws://127.0.0.1:9001/
#include <dari.h>

#include <cstdio>
#include <memory>
#include <string_view>

namespace {

class Client {
public:
    // Handed to dari: each hook finds its way back to this object.
    dari_handler_t handler() {
        dari_handler_t hooks{};
        hooks.struct_size = sizeof hooks;
        hooks.user = this;
        hooks.open = [](void *self, dari_loop_t *loop, dari_conn_t conn) { of(self).open(loop, conn); };
        hooks.message = [](void *self, dari_loop_t *loop, dari_conn_t conn, const dari_message_t *message) {
            of(self).message(loop, conn, {message->data, message->len});
        };
        hooks.close = [](void *self, dari_loop_t *loop, dari_conn_t, const dari_close_t *why) {
            of(self).close(loop, *why);
        };
        return hooks;
    }

    bool clean() const { return clean_; }

private:
    static Client &of(void *self) { return *static_cast<Client *>(self); }

    static void say(dari_loop_t *loop, dari_conn_t conn, std::string_view text) {
        dari_conn_send(loop, conn, DARI_TEXT, text.data(), text.size());
    }

    void open(dari_loop_t *loop, dari_conn_t conn) { say(loop, conn, "hello"); }

    void message(dari_loop_t *loop, dari_conn_t conn, std::string_view text) {
        std::printf("%.*s\n", static_cast<int>(text.size()), text.data());
        if (--left_ == 0) dari_conn_close(loop, conn, 1000, "done");
        else say(loop, conn, "again");
    }

    void close(dari_loop_t *loop, const dari_close_t &why) {
        std::printf("closed: %.*s\n", static_cast<int>(why.text.len), why.text.data);
        clean_ = why.was_clean != 0;
        dari_loop_stop(loop);
    }

    int left_ = 3;
    bool clean_ = false;
};

struct FreeLoop {
    void operator()(dari_loop_t *loop) const { dari_loop_free(loop); }
};

} // namespace

int main(int argc, char **argv) {
    const char *url = argc > 1 ? argv[1] : "ws://127.0.0.1:9001/";
    Client client;
    const dari_handler_t handler = client.handler();

    dari_loop_t *made = nullptr;
    dari_conn_t conn{};
    if (dari_loop_new(nullptr, &made) < 0) {
        std::fprintf(stderr, "client: %s\n", dari_last_error());
        return 1;
    }
    // Freed after the client is done with it, and before the client goes.
    const std::unique_ptr<dari_loop_t, FreeLoop> loop(made);
    if (dari_loop_connect(loop.get(), url, nullptr, &handler, &conn) < 0 || dari_loop_run(loop.get()) < 0) {
        std::fprintf(stderr, "client: %s\n", dari_last_error());
        return 1;
    }
    return client.clean() ? 0 : 1;
}
