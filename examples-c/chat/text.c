#include "text.h"

uint32_t text_next(const char **at, const char *end) {
    // The least character of each length: anything below it is overlong.
    static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
    const unsigned char *p = (const unsigned char *)*at;
    unsigned char first = *p;
    size_t more = first < 0x80 ? 0 : first < 0xC2 ? SIZE_MAX : first < 0xE0 ? 1 : first < 0xF0 ? 2 : first < 0xF5 ? 3 : SIZE_MAX;
    uint32_t c;

    *at += 1;
    if (more == SIZE_MAX || more >= (size_t)(end - (const char *)p)) return TEXT_BAD;
    c = more == 0 ? first : first & (0x3Fu >> more);
    for (size_t i = 1; i <= more; i++) {
        if ((p[i] & 0xC0) != 0x80) return TEXT_BAD;
        c = c << 6 | (p[i] & 0x3Fu);
    }
    if (c < least[more] || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF)) return TEXT_BAD;
    *at += more;
    return c;
}

static int is_control(uint32_t c) {
    return c < 0x20 || (c >= 0x7F && c < 0xA0) || c == TEXT_BAD;
}

// Blank, invisible, or turning the direction of what follows.
static int is_unseen(uint32_t c) {
    static const uint32_t ranges[][2] = {
        {0x20, 0x20},     {0xA0, 0xA0},     {0xAD, 0xAD},       {0x034F, 0x034F},   {0x061C, 0x061C},
        {0x115F, 0x1160}, {0x1680, 0x1680}, {0x17B4, 0x17B5},   {0x180B, 0x180F},   {0x2000, 0x200F},
        {0x2028, 0x202F}, {0x205F, 0x206F}, {0x3000, 0x3000},   {0x3164, 0x3164},   {0xFE00, 0xFE0F},
        {0xFEFF, 0xFEFF}, {0xFFA0, 0xFFA0}, {0xFFF0, 0xFFFB},   {0x1BCA0, 0x1BCA3}, {0x1D173, 0x1D17A},
        {0xE0000, 0xE0FFF},
    };
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if (c >= ranges[i][0] && c <= ranges[i][1]) return 1;
    return 0;
}

int text_is_name(const char *data, size_t len, size_t max) {
    const char *at = data, *end = data + len;
    if (len == 0 || len > max) return 0;
    while (at < end) {
        uint32_t c = text_next(&at, end);
        if (is_control(c) || is_unseen(c) || c == '<' || c == '>' || c == '[' || c == ']') return 0;
    }
    return 1;
}

int text_is_speech(const char *data, size_t len) {
    const char *at = data, *end = data + len;
    while (at < end) {
        uint32_t c = text_next(&at, end);
        if (is_control(c) && c != '\n' && c != '\t') return 0;
    }
    return 1;
}

size_t text_cut(const char *data, size_t len, size_t max) {
    if (len <= max) return len;
    while (max > 0 && ((unsigned char)data[max] & 0xC0) == 0x80) max--;
    return max;
}

static int hex(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

size_t text_percent_decode(const char *data, size_t len, char *out, size_t size) {
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        int c = (unsigned char)data[i];
        if (c == '%') {
            int high = i + 2 < len ? hex(data[i + 1]) : -1, low = i + 2 < len ? hex(data[i + 2]) : -1;
            if (high < 0 || low < 0) return SIZE_MAX;
            c = high << 4 | low;
            i += 2;
        }
        if (c == 0 || n + 1 >= size) return SIZE_MAX;
        out[n++] = (char)c;
    }
    out[n] = '\0';
    return n;
}

void text_print(FILE *out, const char *data, size_t len) {
    const char *at = data, *end = data + len;
    while (at < end) {
        const char *from = at;
        uint32_t c = text_next(&at, end);
        if (!is_control(c)) fwrite(from, 1, (size_t)(at - from), out);
        else
            for (; from < at; from++) fprintf(out, "\\x%02X", (unsigned)(unsigned char)*from);
    }
}
