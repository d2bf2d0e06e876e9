// The command line of a test program: a table of options, a row each, of which
// the usage is made, too. Holds no option itself.
#ifndef OPTIONS_H
#define OPTIONS_H

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct option {
    const char *name;
    const char *argument; // What to call it, or NULL if there is none.
    const char *help;
    int (*set)(void *options, char *value); // 0, or -1 for a bad value.
};

struct command {
    const char *program;
    const char *subject; // The one word that is no option: "ADDRESS".
    const struct option *table;
    size_t rows;
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

static inline void command_usage(const struct command *command, const char *wrong, const char *what) {
    fprintf(stderr, "%s: %s %s\nusage: %s %s [OPTION...]\n", command->program, wrong, what, command->program, command->subject);
    for (size_t i = 0; i < command->rows; i++) {
        const struct option *row = &command->table[i];
        char left[64];
        snprintf(left, sizeof left, "%s %s", row->name, row->argument != NULL ? row->argument : "");
        fprintf(stderr, "  %-24s %s\n", left, row->help);
    }
}

// The subject in `argv`, the rest in `options`; or NULL, and usage was told.
static inline const char *command_parse(const struct command *command, int argc, char **argv, void *options) {
    const char *subject = NULL;
    for (int i = 1; i < argc; i++) {
        const struct option *row = command->table, *end = row + command->rows;
        if (strncmp(argv[i], "--", 2) != 0 && subject == NULL) {
            subject = argv[i];
            continue;
        }
        while (row < end && strcmp(argv[i], row->name) != 0) row++;
        if (row == end) return command_usage(command, "unknown option", argv[i]), NULL;
        if (row->argument != NULL && ++i == argc) return command_usage(command, "no value for", row->name), NULL;
        if (row->set(options, row->argument != NULL ? argv[i] : NULL) < 0)
            return command_usage(command, "bad value for", row->name), NULL;
    }
    if (subject == NULL) command_usage(command, "no", command->subject);
    return subject;
}

#endif // OPTIONS_H
