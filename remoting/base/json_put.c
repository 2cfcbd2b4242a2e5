/* The JSON writers: what every reader of the wire takes, and the bytes that fastjson's writers choose. */
#include "remoting/base/json.h"

#include "remoting/base/err.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* The letter of a byte's short escape, 'u' for \u00XX, 0 for bytes that stand for themselves. */
static char escape_letter(uint8_t byte)
{
    static const char CONTROLS[33] = "uuuuuuuubtnufruuuuuuuuuuuuuuuuuu";

    if (byte < 0x20) {
        return CONTROLS[byte];
    }
    return byte == '"' || byte == '\\' ? (char)byte : 0;
}

static int put_escape(struct mq_buf *buf, uint8_t byte, char letter)
{
    char text[6] = {'\\', letter, '0', '0'};

    if (letter != 'u') {
        return mq_buf_put(buf, text, 2);
    }
    mq_hex_upper(&byte, 1, text + 4);
    return mq_buf_put(buf, text, sizeof(text));
}

static int put_string_body(struct mq_buf *buf, struct mq_str s)
{
    uint32_t run = 0;
    int rc = 0;

    for (uint32_t i = 0; i < s.len && rc == 0; i++) {
        char letter = escape_letter((uint8_t)s.at[i]);

        if (letter != 0) {
            rc = mq_buf_put(buf, s.at + run, i - run);
            if (rc == 0) {
                rc = put_escape(buf, (uint8_t)s.at[i], letter);
            }
            run = i + 1;
        }
    }
    return rc != 0 || run == s.len ? rc : mq_buf_put(buf, s.at + run, s.len - run);
}

int mq_json_put_string(struct mq_buf *buf, struct mq_str s)
{
    size_t first = buf->len;
    int rc;

    rc = mq_buf_reserve(buf, (size_t)s.len + 2);
    if (rc == 0) {
        rc = mq_buf_put_u8(buf, '"');
    }
    if (rc == 0) {
        rc = put_string_body(buf, s);
    }
    if (rc == 0) {
        rc = mq_buf_put_u8(buf, '"');
    }
    if (rc != 0) {
        buf->len = first;
    }
    return rc;
}

/* Makes the locale's decimal point, whatever its bytes, a '.', and adds ".0" where there is neither point nor
 * exponent, as Java does: some readers choose the type by it. @text has room for two more bytes. */
static size_t normalise_double(char *text, size_t n)
{
    bool point = false;
    size_t to = 0;

    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        bool plain = (c >= '0' && c <= '9') || c == '-' || c == '+' || c == 'e';

        if (plain) {
            text[to++] = c;
            point = point || c == 'e';
        } else if (!point) {
            text[to++] = '.';
            point = true;
        }
    }
    if (!point) {
        text[to++] = '.';
        text[to++] = '0';
    }
    return to;
}

int mq_json_put_double(struct mq_buf *buf, double value)
{
    char text[48];
    int n = 0;

    if (!isfinite(value)) {
        return mq_buf_put_str(buf, MQ_STR("0.0"));
    }
    /* The shortest of the three that reads back as the same value; 17 digits always do. */
    for (int digits = 15; digits <= 17; digits++) {
        n = snprintf(text, sizeof(text) - 2, "%.*g", digits, value);
        if (strtod(text, NULL) == value) {
            break;
        }
    }
    return mq_buf_put(buf, text, normalise_double(text, (size_t)n));
}
