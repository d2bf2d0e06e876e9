// dari.hpp - dari.h for C++17 and later: objects, lambdas, views. Header-only.
//
// A function here does what its namesake in dari.h does, and a field means what
// it means there: that is the manual. Constants are dari.h's own. What C++ adds:
//
//   Errors      What makes something (loops, listen, connect, after, tls ...)
//               throws dari::error, with the sentence of dari_last_error(). What
//               acts on something that may be gone at any time (send, close,
//               cancel ...) returns a dari::status: ignore it, look at it, or
//               have .or_throw() throw it.
//   Exceptions  May leave your callables. None crosses a C frame: the first one
//               is kept, the loop stops behind the turn it is in, and run() or
//               turn() throws it.
//   Callables   Anything that can be called with the arguments that are named;
//               the last ones, or all, may be left out. It need not be copyable.
//               It is reached by one indirect call, and lives on the heap, once:
//                 of a listener, or of a client with retry_ms   as long as the loop
//                 of another client                             until its close is over
//                 of a timer, a watch                           until it is cancelled, or has fired
//                 of a shutdown, a remote call                  until it was called, or never will be
//   Handles     loop, remote, payload, tls own, and can be moved. conn, listener,
//               dial, timer, watch are values that know their loop, and must not
//               outlive it; conn_id and its kin are the bare numbers, which may.
//   Views       message, bytes, close_info and the like are on loan, as in C.
//   Hooks       run(), turn() and free() are members of dari::loop alone; what a
//               callable is handed (loop_ref) has all the others.

#ifndef DARI_HPP
#define DARI_HPP

#include "dari.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

namespace dari {

using std::chrono::milliseconds;

class loop_ref;
class payload;
class tls;

// ----------------------------------------------------------------------------
// Errors
// ----------------------------------------------------------------------------

inline const char *version() noexcept { return dari_version(); }
inline const char *last_error() noexcept { return dari_last_error(); }
inline const char *cause_text(dari_cause_t cause) noexcept { return dari_cause_text(cause); }

// How a call ended. True if it is done, be it buffered.
class status {
public:
    constexpr status(dari_status_t raw = DARI_OK) noexcept : raw_(raw) {}
    constexpr dari_status_t raw() const noexcept { return raw_; }
    constexpr explicit operator bool() const noexcept { return raw_ >= 0; }
    // Done, but the peer is slow: hold back until `drain`.
    constexpr bool is_buffered() const noexcept { return raw_ == DARI_BUFFERED; }
    // In a few words. The whole sentence is last_error(), until the next error.
    const char *text() const noexcept { return dari_status_text(raw_); }
    // Right behind the call: the sentence is that of this thread's last error.
    status or_throw() const;

    friend constexpr bool operator==(status a, status b) noexcept { return a.raw_ == b.raw_; }
    friend constexpr bool operator!=(status a, status b) noexcept { return a.raw_ != b.raw_; }

private:
    dari_status_t raw_;
};

// What was wrong, in words: what() is the sentence of dari_last_error().
class error : public std::runtime_error {
public:
    explicit error(dari::status why) : runtime_error(dari_last_error()), status_(why), os_error_(dari_last_errno()) {}
    dari::status status() const noexcept { return status_; }
    // The errno behind it, or 0.
    int os_error() const noexcept { return os_error_; }

private:
    dari::status status_;
    int os_error_;
};

inline status status::or_throw() const {
    if (raw_ < 0) throw error(*this);
    return *this;
}

// ----------------------------------------------------------------------------
// Text and bytes
// ----------------------------------------------------------------------------

inline std::string_view view(dari_str_t text) noexcept { return {text.data, text.len}; }

// A parameter: text that ends with a NUL.
class zstring {
public:
    constexpr zstring(const char *text) noexcept : text_(text) {}
    zstring(const std::string &text) noexcept : text_(text.c_str()) {}
    constexpr const char *c_str() const noexcept { return text_; }

private:
    const char *text_;
};

// Any bytes, on loan. Becomes a std::span<const std::byte> where there is one.
class bytes {
    template <class T>
    using element = std::remove_cv_t<std::remove_pointer_t<decltype(std::declval<const T &>().data())>>;
    template <class T>
    static constexpr bool is_byte =
        std::is_same_v<T, std::byte> || std::is_same_v<T, char> || std::is_same_v<T, unsigned char>;

public:
    constexpr bytes() noexcept = default;
    bytes(const void *data, std::size_t size) noexcept : data_(static_cast<const std::byte *>(data)), size_(size) {}
    // Vectors, arrays and spans of bytes. Text is text: see dari::binary.
    template <class T,
              class = std::enable_if_t<is_byte<element<T>> && !std::is_convertible_v<const T &, std::string_view>>>
    bytes(const T &container) noexcept : bytes(container.data(), container.size()) {}

    constexpr const std::byte *data() const noexcept { return data_; }
    constexpr std::size_t size() const noexcept { return size_; }
    constexpr bool empty() const noexcept { return size_ == 0; }
    constexpr const std::byte *begin() const noexcept { return data_; }
    constexpr const std::byte *end() const noexcept { return data_ + size_; }

private:
    const std::byte *data_ = nullptr;
    std::size_t size_ = 0;
};

// A message on loan: what hooks are handed, and what everything that sends
// takes. Made of whatever is text ("hi", std::string) or bytes.
class message {
public:
    constexpr message() noexcept = default;
    constexpr message(dari_kind_t kind, const void *data, std::size_t size) noexcept
        : data_(data), size_(size), kind_(kind) {}
    message(const dari_message_t &raw) noexcept : message(raw.kind, raw.data, raw.len) {}
    template <class T, std::enable_if_t<std::is_convertible_v<const T &, std::string_view>, int> = 0>
    message(const T &text) noexcept : message(std::string_view(text), DARI_TEXT) {}
    template <class T, std::enable_if_t<std::is_convertible_v<const T &, bytes>, int> = 0>
    message(const T &data) noexcept : message(bytes(data), DARI_BINARY) {}

    constexpr dari_kind_t kind() const noexcept { return kind_; }
    constexpr bool is_text() const noexcept { return (kind_ & DARI_TEXT) != 0; }
    constexpr std::size_t size() const noexcept { return size_; }
    constexpr bool empty() const noexcept { return size_ == 0; }
    // What there is, whatever the kind.
    std::string_view text() const noexcept { return {static_cast<const char *>(data_), size_}; }
    bytes data() const noexcept { return {data_, size_}; }
    // The same, to be sent with these flags.
    constexpr message with(dari_kind_t flags) const noexcept { return {kind_ | flags, data_, size_}; }

private:
    template <class T> message(T data, dari_kind_t kind) noexcept : message(kind, data.data(), data.size()) {}

    const void *data_ = nullptr;
    std::size_t size_ = 0;
    dari_kind_t kind_ = DARI_TEXT;
};

// What lies in a container of the other sort.
inline message binary(std::string_view data) noexcept { return {DARI_BINARY, data.data(), data.size()}; }
inline message text(bytes data) noexcept { return {DARI_TEXT, data.data(), data.size()}; }
// To be compressed however short, and not to be: DARI_COMPRESS, DARI_PLAIN.
inline message compressed(message data) noexcept { return data.with(DARI_COMPRESS); }
inline message plain(message data) noexcept { return data.with(DARI_PLAIN); }

// Header lines: {{"Content-Type", "text/plain"}}, or a vector of them.
using header = dari_header_t;
class headers {
public:
    headers() noexcept = default;
    headers(std::initializer_list<header> lines) noexcept : size_(lines.size()) { data_ = lines.begin(); }
    headers(const std::vector<header> &lines) noexcept : data_(lines.data()), size_(lines.size()) {}
    const header *data() const noexcept { return data_; }
    std::size_t size() const noexcept { return size_; }

private:
    const header *data_ = nullptr;
    std::size_t size_ = 0;
};

// ----------------------------------------------------------------------------
// Ids
// ----------------------------------------------------------------------------

// The bare number of a connection, a listener ...: it is good on any thread, for
// ever, to compare, to hash, and to be turned into what it names by loop_ref::at.
template <class C> class id {
public:
    constexpr id() noexcept = default;
    constexpr id(C raw) noexcept : raw_(raw) {}
    constexpr operator C() const noexcept { return raw_; }
    constexpr std::uint64_t number() const noexcept { return raw_.id; }
    // Whether it ever named anything.
    constexpr explicit operator bool() const noexcept { return raw_.id != 0; }

    friend constexpr bool operator==(id a, id b) noexcept { return a.number() == b.number(); }
    friend constexpr bool operator!=(id a, id b) noexcept { return a.number() != b.number(); }
    friend constexpr bool operator<(id a, id b) noexcept { return a.number() < b.number(); }

private:
    C raw_{};
};

using conn_id = id<dari_conn_t>;
using listener_id = id<dari_listener_t>;
using dial_id = id<dari_dial_t>;
using timer_id = id<dari_timer_t>;
using watch_id = id<dari_watch_t>;

namespace detail {

struct state;

inline void check(dari_status_t raw) { status(raw).or_throw(); }

inline std::uint32_t ms(milliseconds time) noexcept {
    return static_cast<std::uint32_t>(std::clamp<std::int64_t>(time.count(), 0, DARI_NEVER));
}

// An id and the loop that it is on.
template <class C> class bound : public id<C> {
public:
    bound() noexcept = default;
    bound(state *on, C raw) noexcept : id<C>(raw), state_(on) {}
    loop_ref loop() const noexcept;

protected:
    dari_loop_t *raw_loop() const noexcept;
    state *state_ = nullptr;
};

} // namespace detail

class listener : public detail::bound<dari_listener_t> {
public:
    using bound::bound;
    std::uint16_t port() const noexcept { return dari_listener_port(raw_loop(), *this); }
    status close() const noexcept { return dari_listener_close(raw_loop(), *this); }
};

class dial : public detail::bound<dari_dial_t> {
public:
    using bound::bound;
    status stop() const noexcept { return dari_dial_stop(raw_loop(), *this); }
};

class timer : public detail::bound<dari_timer_t> {
public:
    using bound::bound;
    status cancel() const noexcept;
};

class watch : public detail::bound<dari_watch_t> {
public:
    using bound::bound;
    status cancel() const noexcept;
};

class request;

// A connection: `conn.send("hi")`.
class conn : public detail::bound<dari_conn_t> {
public:
    using bound::bound;

    status send(const message &what) const noexcept {
        return dari_conn_send(raw_loop(), *this, what.kind(), what.data().data(), what.size());
    }
    status send(const payload &what) const noexcept;
    status send_part(const message &part, bool last) const noexcept {
        return dari_conn_send_part(raw_loop(), *this, part.kind(), part.data().data(), part.size(), last);
    }
    status close(std::uint16_t code = 1000, zstring reason = nullptr) const noexcept {
        return dari_conn_close(raw_loop(), *this, code, reason.c_str());
    }
    status abort() const noexcept { return dari_conn_abort(raw_loop(), *this); }
    status ping(const message &data = {}) const noexcept {
        return dari_conn_ping(raw_loop(), *this, data.data().data(), data.size());
    }
    status pause() const noexcept { return dari_conn_pause(raw_loop(), *this); }
    status resume() const noexcept { return dari_conn_resume(raw_loop(), *this); }
    status subscribe(zstring topic) const noexcept { return dari_conn_subscribe(raw_loop(), *this, topic.c_str()); }
    status unsubscribe(zstring topic) const noexcept { return dari_conn_unsubscribe(raw_loop(), *this, topic.c_str()); }

    std::uint32_t state() const noexcept { return dari_conn_state(raw_loop(), *this); }
    std::size_t backlog() const noexcept { return dari_conn_backlog(raw_loop(), *this); }
    std::string_view protocol() const noexcept { return view(dari_conn_protocol(raw_loop(), *this)); }
    bytes certificate() const noexcept {
        const dari_str_t der = dari_conn_certificate(raw_loop(), *this);
        return {der.data, der.len};
    }
    dari::dial dial() const noexcept { return {state_, dari_conn_dial(raw_loop(), *this)}; }
    // "address:port"; empty if it is not known.
    std::string peer() const {
        char text[256];
        std::size_t len = 0;
        return dari_conn_peer(raw_loop(), *this, text, sizeof text, &len) < 0 ? std::string() : std::string(text, len);
    }

    // A pointer of yours, to be freed in `close`.
    status set_data(void *data) const noexcept { return dari_conn_set_data(raw_loop(), *this, data); }
    template <class T> T *data() const noexcept { return static_cast<T *>(dari_conn_data(raw_loop(), *this)); }

    // From `upgrade` or `http` until it is answered.
    dari::request request() const noexcept;
    // `protocol` NULL: the first of the listener's that the client offered.
    status accept(zstring protocol = nullptr, const headers &lines = {}) const noexcept {
        return dari_conn_accept(raw_loop(), *this, protocol.c_str(), lines.data(), lines.size());
    }
    status respond(std::uint16_t code, const message &body = {}, const headers &lines = {}) const noexcept {
        return dari_conn_respond(raw_loop(), *this, code, lines.data(), lines.size(), body.data().data(), body.size());
    }
    status respond_begin(std::uint16_t code, const headers &lines = {}) const noexcept {
        return dari_conn_respond_begin(raw_loop(), *this, code, lines.data(), lines.size());
    }
    status respond_piece(const message &piece) const noexcept {
        return dari_conn_respond_piece(raw_loop(), *this, piece.data().data(), piece.size());
    }

    // The descriptor is yours then; `rest` has what was read of it and not handed on.
    status release(int &fd, std::string &rest) const {
        std::size_t len = 0;
        rest.clear();
        status done = dari_conn_release(raw_loop(), *this, &fd, nullptr, 0, &len);
        if (done != DARI_ERR_TOO_BIG) return done;
        rest.resize(len);
        return dari_conn_release(raw_loop(), *this, &fd, rest.data(), rest.size(), &len);
    }
};

// What a client asks for. Views, on loan until it is answered; a data() that is
// NULL says that there is none.
class request {
public:
    request(dari_loop_t *loop, conn_id of) noexcept : loop_(loop), conn_(of) {}
    std::string_view method() const noexcept { return view(dari_request_method(loop_, conn_)); }
    std::string_view target() const noexcept { return view(dari_request_target(loop_, conn_)); }
    std::string_view body() const noexcept { return view(dari_request_body(loop_, conn_)); }
    std::string_view header(zstring name, std::size_t nth = 0) const noexcept {
        return view(dari_request_header(loop_, conn_, name.c_str(), nth));
    }

private:
    dari_loop_t *loop_;
    conn_id conn_;
};

inline request conn::request() const noexcept { return {raw_loop(), *this}; }

// ----------------------------------------------------------------------------
// What hooks are told
// ----------------------------------------------------------------------------

// How a connection ended.
class close_info {
public:
    explicit close_info(const dari_close_t &raw) noexcept : raw_(&raw) {}
    const dari_close_t &raw() const noexcept { return *raw_; }
    dari_cause_t cause() const noexcept { return raw_->cause; }
    std::uint32_t by() const noexcept { return raw_->by; }
    std::uint16_t code() const noexcept { return raw_->code; }
    std::uint16_t sent_code() const noexcept { return raw_->sent_code; }
    bool was_clean() const noexcept { return raw_->was_clean != 0; }
    bool opened() const noexcept { return raw_->opened != 0; }
    // Of a handshake that was refused, as HTTP has it; or 0.
    std::uint16_t http_status() const noexcept { return raw_->status; }
    std::string_view reason() const noexcept { return view(raw_->reason); }
    // The whole story in one line, for the log.
    std::string_view text() const noexcept { return view(raw_->text); }
    // The rule that the peer broke, or nothing.
    std::string_view rule() const noexcept { return view(raw_->rule); }
    std::uint64_t offset() const noexcept { return raw_->offset; }
    std::uint64_t limit() const noexcept { return raw_->limit; }
    std::uint64_t met() const noexcept { return raw_->met; }
    std::uint64_t unsent_bytes() const noexcept { return raw_->unsent_bytes; }
    std::uint64_t unsent_messages() const noexcept { return raw_->unsent_messages; }
    int os_error() const noexcept { return raw_->os_error; }
    int tls_alert() const noexcept { return raw_->tls_alert; }
    // Its dial connects again unless it is stopped: `retry` follows.
    bool will_retry() const noexcept { return raw_->will_retry != 0; }

private:
    const dari_close_t *raw_;
};

// Peers that were turned away at the door.
class limited_info {
public:
    limited_info(detail::state *on, const dari_limited_t &raw) noexcept : state_(on), raw_(&raw) {}
    dari::listener listener() const noexcept { return {state_, raw_->listener}; }
    std::uint32_t which() const noexcept { return raw_->which; }
    std::uint64_t count() const noexcept { return raw_->count; }
    std::uint64_t limit() const noexcept { return raw_->limit; }
    std::string_view peer() const noexcept { return view(raw_->peer); }

private:
    detail::state *state_;
    const dari_limited_t *raw_;
};

// A line of the log.
class log_line {
public:
    log_line(detail::state *on, const dari_log_t &raw) noexcept : state_(on), raw_(&raw) {}
    std::uint32_t level() const noexcept { return raw_->level; }
    // Whose it is; false if it is nobody's.
    dari::conn conn() const noexcept { return {state_, raw_->conn}; }
    std::string_view event() const noexcept { return view(raw_->event); }
    std::string_view peer() const noexcept { return view(raw_->peer); }
    std::string_view text() const noexcept { return view(raw_->text); }

private:
    detail::state *state_;
    const dari_log_t *raw_;
};

// The end of a connection, remembered. On loan until the loop runs again.
class past_conn {
public:
    explicit past_conn(const dari_past_t &raw) noexcept : raw_(raw) {}
    conn_id id() const noexcept { return raw_.conn; }
    std::chrono::system_clock::time_point ended() const noexcept {
        return std::chrono::system_clock::time_point(milliseconds(raw_.ended_ms));
    }
    milliseconds lived() const noexcept { return milliseconds(raw_.lived_ms); }
    std::string_view peer() const noexcept { return view(raw_.peer); }
    // A view of this object.
    close_info why() const noexcept { return close_info(raw_.why); }

private:
    dari_past_t raw_;
};

// ----------------------------------------------------------------------------
// Callables: how C finds its way to them
// ----------------------------------------------------------------------------

namespace detail {

using store = std::unordered_map<std::uint64_t, std::shared_ptr<void>>;

// What a loop needs besides dari's: the callables, and what they have thrown.
// Changed on the loop's thread alone, after dari has said yes to a call.
struct state {
    dari_loop_t *raw = nullptr;
    bool running = false;
    std::exception_ptr thrown;
    store timers, watches, others;

    // Without memory for it the process ends, as dari itself would have it:
    // dari knows its address already.
    static void keep(store &in, std::uint64_t key, std::shared_ptr<void> what) noexcept {
        in.emplace(key, std::move(what));
    }

    template <class F> void guard(F &&call) noexcept {
        try {
            call();
        } catch (...) {
            if (!thrown) thrown = std::current_exception();
            if (running) dari_loop_stop(raw);
        }
    }
};

inline std::uint64_t key(const void *address) noexcept { return reinterpret_cast<std::uintptr_t>(address); }

inline conn lift(state *on, dari_conn_t raw) noexcept { return {on, raw}; }
inline dial lift(state *on, dari_dial_t raw) noexcept { return {on, raw}; }
inline timer lift(state *on, dari_timer_t raw) noexcept { return {on, raw}; }
inline watch lift(state *on, dari_watch_t raw) noexcept { return {on, raw}; }
inline message lift(state *, const dari_message_t *raw) noexcept { return *raw; }
inline close_info lift(state *, const dari_close_t *raw) noexcept { return close_info(*raw); }
inline limited_info lift(state *on, const dari_limited_t *raw) noexcept { return {on, *raw}; }
inline log_line lift(state *on, const dari_log_t *raw) noexcept { return {on, *raw}; }
template <class T> std::enable_if_t<std::is_arithmetic_v<T>, T> lift(state *, T raw) noexcept { return raw; }

template <class F, class Args, std::size_t... I>
constexpr bool takes(std::index_sequence<I...>) noexcept {
    return std::is_invocable_v<F &, std::tuple_element_t<I, Args>...>;
}

template <class F, class Args, std::size_t... I>
void invoke_with(F &function, Args &args, std::index_sequence<I...> first) {
    if constexpr (takes<F, Args>(first)) {
        static_cast<void>(std::invoke(function, std::move(std::get<I>(args))...));
    } else {
        static_assert(sizeof...(I) > 0, "this callable does not take the arguments that dari.hpp names for it");
        if constexpr (sizeof...(I) > 0) invoke_with(function, args, std::make_index_sequence<sizeof...(I) - 1>());
    }
}

// Calls with as many of the arguments as the function takes.
template <class F, class... Args> void invoke(F &function, Args... args) {
    std::tuple<Args...> all(std::move(args)...);
    invoke_with(function, all, std::index_sequence_for<Args...>());
}

// Calls with the arguments of C as those of C++: one for one, but for three hooks.
template <class F, class... C> void deliver(F &function, state *on, C... args) { invoke(function, lift(on, args)...); }
template <class F> void deliver(F &pong, state *on, dari_conn_t conn, const void *data, std::size_t len) {
    invoke(pong, lift(on, conn), bytes(data, len));
}
template <class F> void deliver(F &part, state *on, dari_conn_t conn, const dari_message_t *raw, std::uint32_t last) {
    invoke(part, lift(on, conn), message(*raw), last != 0);
}
template <class F> void deliver(F &retry, state *on, dari_dial_t dial, std::uint32_t attempt, std::uint32_t delay_ms) {
    invoke(retry, lift(on, dial), attempt, milliseconds(delay_ms));
}

// What `user` points to in hooks: the callables of one listener, client or log.
struct target {
    state *on;
    std::array<std::shared_ptr<void>, 12> callables{};
    decltype(dari_handler_t::close) close = nullptr;

    explicit target(state *of) noexcept : on(of) {}
};

// The function that C calls for the `N`th callable of a target, which is an F.
template <std::size_t N, class F, class... C>
constexpr auto trampoline(void (*)(void *, dari_loop_t *, C...)) noexcept -> void (*)(void *, dari_loop_t *, C...) {
    return [](void *user, dari_loop_t *, C... args) noexcept {
        auto &to = *static_cast<target *>(user);
        to.on->guard([&] { deliver(*static_cast<F *>(to.callables[N].get()), to.on, args...); });
    };
}

// One hook: empty, or whatever can be called. Copies share it.
template <std::size_t N, auto Field> class hook {
    template <class Struct, class Function> static Function type_of(Function Struct::*);
    using function = decltype(type_of(Field));

public:
    hook() noexcept = default;
    template <class F, class = std::enable_if_t<!std::is_same_v<std::decay_t<F>, hook>>>
    hook(F &&callable)
        : callable_(std::make_shared<std::decay_t<F>>(std::forward<F>(callable))),
          call_(trampoline<N, std::decay_t<F>>(function())) {}
    explicit operator bool() const noexcept { return call_ != nullptr; }

    template <class Struct> void put(Struct &raw, target &to) const {
        raw.*Field = call_;
        to.callables[N] = callable_;
    }

private:
    std::shared_ptr<void> callable_;
    function call_ = nullptr;
};

// A client that does not connect again is over, and nothing will be called.
inline void last_close(void *user, dari_loop_t *loop, dari_conn_t conn, const dari_close_t *why) noexcept {
    auto &to = *static_cast<target *>(user);
    if (to.close != nullptr) to.close(user, loop, conn, why);
    to.on->others.erase(key(user));
}

// A callable that stands alone. It holds itself while it is called, so that it
// can be cancelled in the midst of it.
template <class F> struct task : std::enable_shared_from_this<task<F>> {
    state *on;
    F function;

    template <class Fn> task(state *of, Fn &&callable) : on(of), function(std::forward<Fn>(callable)) {}

    template <class... C> static void call(void *user, dari_loop_t *, C... args) noexcept {
        const auto self = static_cast<task *>(user)->shared_from_this();
        self->on->guard([&] { deliver(self->function, self->on, args...); });
    }
    static void fire_once(void *user, dari_loop_t *loop, dari_timer_t timer) noexcept {
        const auto self = static_cast<task *>(user)->shared_from_this();
        self->on->timers.erase(timer.id);
        call(user, loop, timer);
    }
    static void done(void *user, dari_loop_t *loop, std::size_t dropped) noexcept {
        const auto self = static_cast<task *>(user)->shared_from_this();
        self->on->others.erase(key(user));
        call(user, loop, dropped);
    }
};

template <class F> std::shared_ptr<task<std::decay_t<F>>> make_task(state *on, F &&callable) {
    return std::make_shared<task<std::decay_t<F>>>(on, std::forward<F>(callable));
}

} // namespace detail

// What to call when something happens; the same for both sides:
//
//     dari::handler on;
//     on.message = [](dari::conn conn, dari::message message) { conn.send(message); };
//
// It is copied by listen and connect, and copies share their callables.
struct handler {
    detail::hook<0, &dari_handler_t::open> open{};        // (conn)
    detail::hook<1, &dari_handler_t::message> message{};  // (conn, message)
    detail::hook<2, &dari_handler_t::drain> drain{};      // (conn)
    detail::hook<3, &dari_handler_t::error> error{};      // (conn, close_info)
    detail::hook<4, &dari_handler_t::close> close{};      // (conn, close_info)
    detail::hook<5, &dari_handler_t::upgrade> upgrade{};  // (conn)
    detail::hook<6, &dari_handler_t::http> http{};        // (conn)
    detail::hook<7, &dari_handler_t::pong> pong{};        // (conn, bytes)
    detail::hook<8, &dari_handler_t::part> part{};        // (conn, message, bool last)
    detail::hook<9, &dari_handler_t::dropped> dropped{};  // (conn, size_t messages, size_t bytes)
    detail::hook<10, &dari_handler_t::limited> limited{}; // (limited_info)
    detail::hook<11, &dari_handler_t::retry> retry{};     // (dial, uint32_t attempt, milliseconds delay)

    // For C: `to` has to live for as long as it may be called.
    dari_handler_t raw(detail::target &to) const {
        dari_handler_t raw{};
        raw.struct_size = sizeof raw;
        raw.user = &to;
        const auto put = [&](const auto &...hooks) { (hooks.put(raw, to), ...); };
        put(open, message, drain, error, close, upgrade, http, pong, part, dropped, limited, retry);
        return raw;
    }
};

// ----------------------------------------------------------------------------
// TLS and payloads
// ----------------------------------------------------------------------------

// Certificates and keys. Listeners and clients that use it keep what they need.
class tls {
public:
    static tls server(zstring cert_file, zstring key_file) {
        dari_tls_t *raw = nullptr;
        detail::check(dari_tls_server_new(cert_file.c_str(), key_file.c_str(), &raw));
        return tls(raw);
    }
    static tls server_pem(std::string_view cert, std::string_view key) {
        dari_tls_t *raw = nullptr;
        detail::check(dari_tls_server_new_pem(cert.data(), cert.size(), key.data(), key.size(), &raw));
        return tls(raw);
    }
    // Trusts what the system trusts, or the certificates in a file; and may have
    // a certificate of its own.
    static tls client(zstring roots_file = nullptr, zstring cert_file = nullptr, zstring key_file = nullptr) {
        dari_tls_t *raw = nullptr;
        detail::check(dari_tls_client_new(roots_file.c_str(), cert_file.c_str(), key_file.c_str(), &raw));
        return tls(raw);
    }

    status add(zstring cert_file, zstring key_file) const noexcept {
        return dari_tls_add(raw(), cert_file.c_str(), key_file.c_str());
    }
    status reload() const noexcept { return dari_tls_reload(raw()); }
    status client_ca(zstring ca_file, bool required) const noexcept {
        return dari_tls_client_ca(raw(), ca_file.c_str(), required);
    }
    const dari_tls_t *raw() const noexcept { return raw_.get(); }

private:
    struct free {
        void operator()(dari_tls_t *raw) const noexcept { dari_tls_free(raw); }
    };
    explicit tls(dari_tls_t *raw) noexcept : raw_(raw) {}
    std::unique_ptr<dari_tls_t, free> raw_;
};

// A message framed once, to be sent to many, on any loops.
class payload {
public:
    explicit payload(const message &what) {
        dari_payload_t *raw = nullptr;
        detail::check(dari_payload_new(what.kind(), what.data().data(), what.size(), &raw));
        raw_.reset(raw);
    }
    const dari_payload_t *raw() const noexcept { return raw_.get(); }

private:
    struct free {
        void operator()(dari_payload_t *raw) const noexcept { dari_payload_free(raw); }
    };
    std::unique_ptr<dari_payload_t, free> raw_;
};

inline status conn::send(const payload &what) const noexcept {
    return dari_conn_send_payload(raw_loop(), *this, what.raw());
}

// ----------------------------------------------------------------------------
// Settings: the fields of dari.h, where 0, NULL and empty are the default
// ----------------------------------------------------------------------------

struct limits {
    std::size_t max_message = 0;
    std::size_t high_water = 0;
    std::size_t low_water = 0;
    std::size_t max_backlog = 0;
    std::size_t max_head = 0;
    std::size_t max_body = 0;
    std::uint32_t handshake_ms = 0;
    std::uint32_t idle_ms = 0;
    std::uint32_t close_ms = 0;
    std::uint32_t stall_ms = 0;
    std::size_t deflate_min = 0;
    std::uint32_t deflate = DARI_DEFLATE_OFF;
    std::uint32_t deflate_level = 0;
    std::uint32_t max_controls = 0;
    std::uint32_t slow = DARI_SLOW_REFUSE;
    std::size_t max_target = 0;
    std::uint32_t max_headers = 0;
    std::uint32_t max_empty_fragments = 0;
    std::uint32_t keep_alive_ms = 0;

    dari_limits_t raw() const noexcept {
        dari_limits_t raw{};
        raw.struct_size = sizeof raw;
        raw.max_message = max_message;
        raw.high_water = high_water;
        raw.low_water = low_water;
        raw.max_backlog = max_backlog;
        raw.max_head = max_head;
        raw.max_body = max_body;
        raw.handshake_ms = handshake_ms;
        raw.idle_ms = idle_ms;
        raw.close_ms = close_ms;
        raw.stall_ms = stall_ms;
        raw.deflate_min = deflate_min;
        raw.deflate = deflate;
        raw.deflate_level = deflate_level;
        raw.max_controls = max_controls;
        raw.slow = slow;
        raw.max_target = max_target;
        raw.max_headers = max_headers;
        raw.max_empty_fragments = max_empty_fragments;
        raw.keep_alive_ms = keep_alive_ms;
        return raw;
    }
};

struct listen_config {
    dari::limits limits{};
    std::vector<std::string> protocols{};
    std::vector<std::string> origins{};
    const dari::tls *tls = nullptr;
    std::string folder{};
    std::vector<std::string> trusted_proxies{};
    std::size_t max_conns = 0;
    std::size_t max_conns_per_ip = 0;
    std::size_t connects_per_second_per_ip = 0;
    std::uint32_t flags = 0;
};

struct connect_config {
    dari::limits limits{};
    std::vector<std::string> protocols{};
    std::vector<std::pair<std::string, std::string>> headers{};
    std::string origin{};
    const dari::tls *tls = nullptr;
    std::string tls_name{};
    std::string proxy{};
    std::uint32_t retry_ms = 0;
    std::uint32_t retry_max_ms = 0;
    std::uint32_t retry_count = 0;
    std::uint32_t keepalive_ms = 0;
    std::uint32_t user_timeout_ms = 0;
};

struct loop_config {
    std::size_t max_memory = 0;
    std::size_t max_read = 0;
    std::uint32_t max_events = 0;
    std::uint32_t slow_hook_ms = 0;
    std::uint32_t log_level = 0;
    detail::hook<0, &dari_loop_config_t::log> log{}; // (log_line)
};

namespace detail {

inline const char *c_text(const std::string &text) noexcept { return text.empty() ? nullptr : text.c_str(); }

// A list as C has it, for the length of a call.
class c_list {
public:
    explicit c_list(const std::vector<std::string> &of) {
        for (const auto &text : of) list_.push_back(text.c_str());
        if (!list_.empty()) list_.push_back(nullptr);
    }
    const char *const *get() const noexcept { return list_.empty() ? nullptr : list_.data(); }

private:
    std::vector<const char *> list_;
};

} // namespace detail

// ----------------------------------------------------------------------------
// Loops
// ----------------------------------------------------------------------------

// All connections of a loop: for (dari::conn conn : loop.conns()).
class conn_range {
public:
    class iterator {
    public:
        iterator(detail::state *on, conn_id at) noexcept : state_(on), at_(at) {}
        conn operator*() const noexcept { return {state_, at_}; }
        iterator &operator++() noexcept {
            at_ = dari_loop_next(state_->raw, at_);
            return *this;
        }
        friend bool operator!=(const iterator &a, const iterator &b) noexcept { return a.at_ != b.at_; }

    private:
        detail::state *state_;
        conn_id at_;
    };

    explicit conn_range(detail::state *on) noexcept : state_(on) {}
    iterator begin() const noexcept {
        return {state_, state_ != nullptr ? dari_loop_next(state_->raw, {}) : dari_conn_t{}};
    }
    iterator end() const noexcept { return {state_, conn_id()}; }

private:
    detail::state *state_;
};

// A loop, to do anything with but to run and to free it.
class loop_ref {
public:
    explicit loop_ref(detail::state *on = nullptr) noexcept : state_(on) {}
    dari_loop_t *raw() const noexcept { return state_ != nullptr ? state_->raw : nullptr; }

    // "127.0.0.1:9001", "[::]:0", "unix:/path".
    dari::listener listen(zstring address, const handler &on, const listen_config &how = {}) const {
        auto to = std::make_shared<detail::target>(state_);
        const dari_handler_t hooks = on.raw(*to);
        const dari_limits_t limits = how.limits.raw();
        const detail::c_list protocols(how.protocols), origins(how.origins), proxies(how.trusted_proxies);
        dari_listen_t raw_how{};
        raw_how.struct_size = sizeof raw_how;
        raw_how.limits = &limits;
        raw_how.protocols = protocols.get();
        raw_how.origins = origins.get();
        raw_how.tls = how.tls != nullptr ? how.tls->raw() : nullptr;
        raw_how.folder = detail::c_text(how.folder);
        raw_how.trusted_proxies = proxies.get();
        raw_how.max_conns = how.max_conns;
        raw_how.max_conns_per_ip = how.max_conns_per_ip;
        raw_how.connects_per_second_per_ip = how.connects_per_second_per_ip;
        raw_how.flags = how.flags;
        dari_listener_t made{};
        detail::check(dari_loop_listen(raw(), address.c_str(), &raw_how, &hooks, &made));
        keep(std::move(to));
        return {state_, made};
    }

    // "wss://example.org/chat". `open` and `close` follow, or `close`.
    dari::conn connect(zstring url, const handler &on, const connect_config &how = {}) const {
        auto to = std::make_shared<detail::target>(state_);
        dari_handler_t hooks = on.raw(*to);
        if (how.retry_ms == 0) {
            to->close = hooks.close;
            hooks.close = detail::last_close;
        }
        const dari_limits_t limits = how.limits.raw();
        const detail::c_list protocols(how.protocols);
        std::vector<header> lines;
        for (const auto &[name, value] : how.headers) lines.push_back({name.c_str(), value.c_str()});
        dari_connect_t raw_how{};
        raw_how.struct_size = sizeof raw_how;
        raw_how.limits = &limits;
        raw_how.protocols = protocols.get();
        raw_how.headers = lines.data();
        raw_how.header_count = lines.size();
        raw_how.origin = detail::c_text(how.origin);
        raw_how.tls = how.tls != nullptr ? how.tls->raw() : nullptr;
        raw_how.tls_name = detail::c_text(how.tls_name);
        raw_how.proxy = detail::c_text(how.proxy);
        raw_how.retry_ms = how.retry_ms;
        raw_how.retry_max_ms = how.retry_max_ms;
        raw_how.retry_count = how.retry_count;
        raw_how.keepalive_ms = how.keepalive_ms;
        raw_how.user_timeout_ms = how.user_timeout_ms;
        dari_conn_t made{};
        detail::check(dari_loop_connect(raw(), url.c_str(), &raw_how, &hooks, &made));
        keep(std::move(to));
        return {state_, made};
    }

    // A callable for timers: (timer). `every` fires first after `interval`, too,
    // unless it is told otherwise.
    template <class F> dari::timer after(milliseconds delay, F &&fire) const {
        auto task = detail::make_task(state_, std::forward<F>(fire));
        return start(delay, milliseconds(0), task->fire_once, task);
    }
    template <class F> dari::timer every(milliseconds interval, F &&fire) const {
        return every(interval, interval, std::forward<F>(fire));
    }
    template <class F> dari::timer every(milliseconds first, milliseconds interval, F &&fire) const {
        auto task = detail::make_task(state_, std::forward<F>(fire));
        return start(first, std::max(interval, milliseconds(1)), task->template call<dari_timer_t>, task);
    }
    // `ready` is (watch, uint32_t events).
    template <class F> dari::watch watch(int fd, std::uint32_t events, F &&ready) const {
        auto task = detail::make_task(state_, std::forward<F>(ready));
        dari_watch_t made{};
        detail::check(dari_watch_new(raw(), fd, events, task->template call<dari_watch_t, std::uint32_t>, task.get(),
                                     &made));
        detail::state::keep(state_->watches, made.id, std::move(task));
        return {state_, made};
    }

    // To every subscriber but `except`.
    status publish(zstring topic, const message &what, conn_id except = {}) const noexcept {
        return dari_loop_publish(raw(), topic.c_str(), except, what.kind(), what.data().data(), what.size());
    }
    std::size_t subscribers(zstring topic) const noexcept { return dari_loop_subscribers(raw(), topic.c_str()); }

    status stop() const noexcept { return dari_loop_stop(raw()); }
    // `done` is (size_t dropped).
    status shutdown(milliseconds spread, milliseconds grace) const noexcept {
        return dari_loop_shutdown(raw(), detail::ms(spread), detail::ms(grace), nullptr, nullptr);
    }
    template <class F> status shutdown(milliseconds spread, milliseconds grace, F &&done) const {
        auto task = detail::make_task(state_, std::forward<F>(done));
        const status begun = dari_loop_shutdown(raw(), detail::ms(spread), detail::ms(grace), task->done, task.get());
        if (begun) keep(std::move(task));
        return begun;
    }

    conn_range conns() const noexcept { return conn_range(state_); }
    dari_stats_t stats() const {
        dari_stats_t stats{};
        stats.struct_size = sizeof stats;
        detail::check(dari_loop_stats(raw(), &stats));
        return stats;
    }
    // The nth last end, 0 the latest; nothing if there were not so many.
    std::optional<past_conn> past(std::size_t nth = 0) const {
        dari_past_t past{};
        past.struct_size = sizeof past;
        if (dari_loop_past(raw(), nth, &past) < 0) return std::nullopt;
        return past_conn(past);
    }

    // What a number names, on this loop.
    dari::conn at(conn_id id) const noexcept { return {state_, id}; }
    dari::listener at(listener_id id) const noexcept { return {state_, id}; }
    dari::dial at(dial_id id) const noexcept { return {state_, id}; }
    dari::timer at(timer_id id) const noexcept { return {state_, id}; }
    dari::watch at(watch_id id) const noexcept { return {state_, id}; }

protected:
    friend class remote;

    template <class T> void keep(std::shared_ptr<T> what) const noexcept {
        const auto key = detail::key(what.get());
        detail::state::keep(state_->others, key, std::move(what));
    }

    dari::timer start(milliseconds delay, milliseconds repeat, void (*fire)(void *, dari_loop_t *, dari_timer_t),
                      std::shared_ptr<void> task) const {
        dari_timer_t made{};
        detail::check(dari_timer_new(raw(), detail::ms(delay), detail::ms(repeat), fire, task.get(), &made));
        detail::state::keep(state_->timers, made.id, std::move(task));
        return {state_, made};
    }

    detail::state *state_;
};

// A loop, owned. It belongs to the thread that made it, and is freed there,
// outside of its callables: anywhere else its destructor has to leave it be.
class loop : public loop_ref {
public:
    explicit loop(const loop_config &how = {}) {
        auto made = std::make_unique<detail::state>();
        auto log = std::make_shared<detail::target>(made.get());
        dari_loop_config_t raw_how{};
        raw_how.struct_size = sizeof raw_how;
        raw_how.max_memory = how.max_memory;
        raw_how.max_read = how.max_read;
        raw_how.max_events = how.max_events;
        raw_how.slow_hook_ms = how.slow_hook_ms;
        raw_how.log_level = how.log_level;
        raw_how.user = log.get();
        how.log.put(raw_how, *log);
        detail::check(dari_loop_new(&raw_how, &made->raw));
        state_ = made.release();
        keep(std::move(log));
    }
    loop(loop &&other) noexcept : loop_ref(std::exchange(other.state_, nullptr)) {}
    loop &operator=(loop &&other) noexcept {
        if (this != &other) {
            end();
            state_ = std::exchange(other.state_, nullptr);
        }
        return *this;
    }
    ~loop() { end(); }

    // Until it is stopped or shut down, or a callable has thrown: then it throws that.
    void run() {
        detail::state *const on = state_; // A callable may move the loop.
        const bool running = on != nullptr && std::exchange(on->running, true);
        const dari_status_t done = dari_loop_run(raw());
        if (on != nullptr) on->running = running;
        tell(on, done);
    }
    // Waits for at most `timeout`: 0 not at all, milliseconds::max() for ever.
    void turn(milliseconds timeout = milliseconds(0)) {
        detail::state *const on = state_;
        const dari_status_t done = dari_loop_turn(raw(), detail::ms(timeout));
        tell(on, done);
    }
    // What the destructor does, but throws what it throws and what callables do.
    void free() {
        if (const std::exception_ptr thrown = end()) std::rethrow_exception(thrown);
    }

    // For a poll of yours: when it is readable, turn().
    int fd() const {
        const int fd = dari_loop_fd(raw());
        detail::check(fd);
        return fd;
    }
    milliseconds timeout() const noexcept { return milliseconds(dari_loop_timeout(raw())); }

private:
    // Throws what callables have thrown, or what went wrong.
    static void tell(detail::state *on, dari_status_t done) {
        if (on != nullptr && on->thrown) std::rethrow_exception(std::exchange(on->thrown, nullptr));
        detail::check(done);
    }

    // Gives what there is to be thrown about it.
    std::exception_ptr end() noexcept {
        if (state_ == nullptr) return nullptr;
        const dari_status_t done = dari_loop_free(state_->raw);
        const std::exception_ptr why = done < 0 ? std::make_exception_ptr(error(done)) : nullptr;
        if (done == DARI_ERR_STATE || done == DARI_ERR_THREAD) return why; // It lives on.
        const std::unique_ptr<detail::state> gone(std::exchange(state_, nullptr));
        gone->raw = nullptr; // For callables that think of it in their destructors.
        return gone->thrown ? gone->thrown : why;
    }
};

// ----------------------------------------------------------------------------
// Remotes
// ----------------------------------------------------------------------------

// A hand on a loop, for other threads. stop() is for signal handlers, too.
class remote {
public:
    explicit remote(const loop_ref &of) : state_(of.state_) {
        dari_remote_t *raw = nullptr;
        detail::check(dari_remote_new(of.raw(), &raw));
        raw_.reset(raw);
    }

    status stop() const noexcept { return dari_remote_stop(raw()); }
    // Calls `function`, (loop_ref), on the loop's thread, and frees it there; or
    // frees it when the loop is freed. After an error it is freed already.
    template <class F> status call(F &&function) const {
        using task = once<std::decay_t<F>>;
        auto made = std::make_unique<task>(state_, std::forward<F>(function));
        const status asked = dari_remote_call(raw(), task::call, task::dropped, made.get());
        if (asked) static_cast<void>(made.release());
        return asked;
    }
    status send(conn_id to, const message &what) const noexcept {
        return dari_remote_send(raw(), to, what.kind(), what.data().data(), what.size());
    }
    status close(conn_id which, std::uint16_t code = 1000, zstring reason = nullptr) const noexcept {
        return dari_remote_close(raw(), which, code, reason.c_str());
    }
    status publish(zstring topic, const message &what) const noexcept {
        return dari_remote_publish(raw(), topic.c_str(), what.kind(), what.data().data(), what.size());
    }
    // Publishes on all of these loops, to everybody but `except`; `taken` is how many will do it.
    static status publish_all(const std::vector<remote> &on, zstring topic, const message &what, conn_id except = {},
                              std::size_t *taken = nullptr) {
        std::vector<dari_remote_t *> raw;
        for (const remote &each : on) raw.push_back(each.raw_.get());
        return dari_remote_publish_all(raw.data(), raw.size(), topic.c_str(), except, what.kind(), what.data().data(),
                                       what.size(), taken);
    }
    const dari_remote_t *raw() const noexcept { return raw_.get(); }

private:
    template <class F> struct once {
        detail::state *on;
        F function;

        template <class Fn> once(detail::state *of, Fn &&callable) : on(of), function(std::forward<Fn>(callable)) {}
        static void call(void *user, dari_loop_t *) noexcept {
            const std::unique_ptr<once> self(static_cast<once *>(user));
            self->on->guard([&] { detail::invoke(self->function, loop_ref(self->on)); });
        }
        static void dropped(void *user) noexcept { delete static_cast<once *>(user); }
    };
    struct free {
        void operator()(dari_remote_t *raw) const noexcept { dari_remote_free(raw); }
    };
    // Looked behind only in what the loop calls.
    detail::state *state_;
    std::unique_ptr<dari_remote_t, free> raw_;
};

// ----------------------------------------------------------------------------

namespace detail {

template <class C> loop_ref bound<C>::loop() const noexcept { return loop_ref(state_); }
template <class C> dari_loop_t *bound<C>::raw_loop() const noexcept {
    return state_ != nullptr ? state_->raw : nullptr;
}

} // namespace detail

inline status timer::cancel() const noexcept {
    const status done = dari_timer_cancel(raw_loop(), *this);
    if (done) state_->timers.erase(number());
    return done;
}

inline status watch::cancel() const noexcept {
    const status done = dari_watch_cancel(raw_loop(), *this);
    if (done) state_->watches.erase(number());
    return done;
}

} // namespace dari

template <class C> struct std::hash<dari::id<C>> {
    std::size_t operator()(dari::id<C> id) const noexcept { return std::hash<std::uint64_t>()(id.number()); }
};
template <> struct std::hash<dari::conn> : std::hash<dari::conn_id> {};
template <> struct std::hash<dari::listener> : std::hash<dari::listener_id> {};
template <> struct std::hash<dari::dial> : std::hash<dari::dial_id> {};
template <> struct std::hash<dari::timer> : std::hash<dari::timer_id> {};
template <> struct std::hash<dari::watch> : std::hash<dari::watch_id> {};

#endif // DARI_HPP
