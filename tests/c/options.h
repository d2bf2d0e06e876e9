// The command line of a test program: tables of options, a row each, of which
// the usage is made, too. Holds no option itself.
#ifndef OPTIONS_H
#define OPTIONS_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct option {
    const char *name;
    const char *argument; // What to call it, or NULL if there is none.
    const char *help;
    int (*set)(void *options, char *value); // 0, -1 for a bad value, or 1 for one value more.
};

// An option that is a number and goes where it says: a size_t or a uint32_t of the options.
struct number {
    const char *name; // "max_message" is --max-message.
    size_t at, width;
};

#define NUMBER(type, place, field) {#field, offsetof(type, place.field), sizeof(((type *)0)->place.field)}

struct command {
    const char *program;
    const char *subject; // The one word that is no option: "ADDRESS".
    const struct option *table;
    size_t rows;
    const struct number *numbers;
    size_t number_rows;
};

static inline int option_number(const char *text, size_t *out) {
    char *end;
    unsigned long long value;
    errno = 0;
    value = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end != '\0' || errno != 0 || value > SIZE_MAX) return -1;
    *out = (size_t)value;
    return 0;
}

// 0 is the library's default; "unlimited" and "never" lift a limit.
static inline int number_set(const struct number *number, void *options, const char *text) {
    size_t value = 0;
    uint32_t narrow;
    int lifts = strcmp(text, "unlimited") == 0 || strcmp(text, "never") == 0;
    if (!lifts && option_number(text, &value) < 0) return -1;
    if (number->width == sizeof value) {
        if (lifts) value = SIZE_MAX;
        memcpy((char *)options + number->at, &value, sizeof value);
        return 0;
    }
    if (value > UINT32_MAX) return -1;
    narrow = lifts ? UINT32_MAX : (uint32_t)value;
    memcpy((char *)options + number->at, &narrow, sizeof narrow);
    return 0;
}

// Whether "--max-message" is the option of "max_message".
static inline int number_is(const struct number *number, const char *option) {
    const char *name = number->name;
    for (option += 2; *name != '\0' && *option == (*name == '_' ? '-' : *name); option++) name++;
    return *name == '\0' && *option == '\0';
}

static inline void command_usage(const struct command *command, const char *wrong, const char *what) {
    fprintf(stderr, "%s: %s %s\nusage: %s %s [OPTION...]\n", command->program, wrong, what, command->program, command->subject);
    for (size_t i = 0; i < command->rows; i++) {
        const struct option *row = &command->table[i];
        char left[64];
        snprintf(left, sizeof left, "%s %s", row->name, row->argument != NULL ? row->argument : "");
        fprintf(stderr, "  %-24s %s\n", left, row->help);
    }
    if (command->number_rows == 0) return;
    fprintf(stderr, "and the limits of dari.h, with a number, \"unlimited\" or \"never\":\n");
    for (size_t i = 0; i < command->number_rows; i++) {
        fprintf(stderr, "  --");
        for (const char *c = command->numbers[i].name; *c != '\0'; c++) fputc(*c == '_' ? '-' : *c, stderr);
        fprintf(stderr, " N\n");
    }
}

// The subject in `argv`, the rest in `options`; or NULL, and usage was told.
static inline const char *command_parse(const struct command *command, int argc, char **argv, void *options) {
    const char *subject = NULL;
    for (int i = 1; i < argc; i++) {
        const struct option *row = command->table, *end = row + command->rows;
        const struct number *number = command->numbers, *last = number + command->number_rows;
        int status;
        if (strncmp(argv[i], "--", 2) != 0 && subject == NULL) {
            subject = argv[i];
            continue;
        }
        while (row < end && strcmp(argv[i], row->name) != 0) row++;
        while (number < last && !number_is(number, argv[i])) number++;
        if (row == end && number < last) {
            if (++i == argc) return command_usage(command, "no value for", argv[i - 1]), NULL;
            if (number_set(number, options, argv[i]) < 0) return command_usage(command, "bad value for", argv[i - 1]), NULL;
            continue;
        }
        if (row == end) return command_usage(command, "unknown option", argv[i]), NULL;
        do {
            if (row->argument != NULL && ++i == argc) return command_usage(command, "no value for", row->name), NULL;
            status = row->set(options, row->argument != NULL ? argv[i] : NULL);
        } while (status > 0);
        if (status < 0) return command_usage(command, "bad value for", row->name), NULL;
    }
    if (subject == NULL) command_usage(command, "no", command->subject);
    return subject;
}

#endif // OPTIONS_H
