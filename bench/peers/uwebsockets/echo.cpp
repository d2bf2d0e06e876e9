// Echo, or broadcast, with uWebSockets.
//
//     echo [--broadcast] [--deflate | --takeover] [--cert FILE --key FILE]
#include "App.h"
#include <cstring>
#include <iostream>
#include <string>

struct Nothing {};

struct Options {
    bool broadcast = false;
    uWS::CompressOptions compression = uWS::DISABLED;
    uWS::SocketContextOptions tls;
};

#ifdef UWS_USE_SIMDUTF
#define ABOUT "uWebSockets " UWS_COMMIT ", with simdutf"
#else
#define ABOUT "uWebSockets " UWS_COMMIT ", as it is by default"
#endif

template <bool SSL> static void serve(const Options &options) {
    static const char everybody[] = "everybody";
    const bool broadcast = options.broadcast, compress = options.compression != uWS::DISABLED;
    uWS::TemplatedApp<SSL> app(options.tls);
    app.template ws<Nothing>("/*", {
        .compression = options.compression,
        .maxPayloadLength = 100 << 20,
        .idleTimeout = 120,
        .maxBackpressure = 1 << 30,
        .open = [broadcast](auto *ws) {
            if (broadcast) ws->subscribe(everybody);
        },
        .message = [&app, broadcast, compress](auto *ws, std::string_view message, uWS::OpCode code) {
            if (broadcast) app.publish(everybody, message, code, compress);
            else ws->send(message, code, compress);
        },
    });
    app.listen("127.0.0.1", 0, [](auto *socket) {
        if (socket == nullptr) exit(1);
        std::cout << "listening on " << us_socket_local_port(SSL, reinterpret_cast<us_socket_t *>(socket))
                  << " (" ABOUT ")" << std::endl;
    });
    app.run();
}

int main(int argc, char **argv) {
    Options options;
    for (int i = 1; i < argc; i++) {
        const std::string word = argv[i];
        if (word == "--broadcast") options.broadcast = true;
        else if (word == "--deflate")
            options.compression = uWS::CompressOptions(uWS::SHARED_COMPRESSOR | uWS::SHARED_DECOMPRESSOR);
        else if (word == "--takeover")
            options.compression = uWS::CompressOptions(uWS::DEDICATED_COMPRESSOR | uWS::DEDICATED_DECOMPRESSOR);
        else if (word == "--cert" && i + 1 < argc) options.tls.cert_file_name = argv[++i];
        else if (word == "--key" && i + 1 < argc) options.tls.key_file_name = argv[++i];
        else return std::cerr << "echo: unknown option " << word << std::endl, 2;
    }
    if (options.tls.cert_file_name != nullptr) serve<true>(options);
    else serve<false>(options);
}
