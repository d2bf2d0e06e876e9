// Text from outside: walking, cutting, decoding and printing UTF-8. Nothing
// here trusts its input, and nothing ever splits a character.
#ifndef CHAT_TEXT_H
#define CHAT_TEXT_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

// What is not UTF-8.
#define TEXT_BAD UINT32_MAX

// Takes one character off the front of [*at, end). Of what is not UTF-8 one
// byte is taken, and the answer is TEXT_BAD.
uint32_t text_next(const char **at, const char *end);

// Whether this can be a name: UTF-8 of 1 to `max` bytes, and every character
// of it seen as itself. That leaves out blanks, controls, what is invisible or
// turns the direction of the line, and the brackets that the protocol uses.
int text_is_name(const char *data, size_t len, size_t max);

// Whether this can be said: no control characters but tab and newline.
int text_is_speech(const char *data, size_t len);

// The greatest length up to `max` that does not split a character of `data`.
size_t text_cut(const char *data, size_t len, size_t max);

// Undoes %XX and ends the result with a NUL. Returns its length, or SIZE_MAX
// if it does not fit `size` or holds half a %XX or a NUL.
size_t text_percent_decode(const char *data, size_t len, char *out, size_t size);

// Prints with control characters and what is not UTF-8 as \xNN, so that
// nobody on the net steers the terminal.
void text_print(FILE *out, const char *data, size_t len);

#endif
