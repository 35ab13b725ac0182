/* What a client meets on a connection whose every byte is known to it: payloads, pings, and what has come in part. */
#ifndef STEADFAST_BENCH_STREAM_H
#define STEADFAST_BENCH_STREAM_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "wire.h"

enum {
    HEADER_LIMIT_BYTES = 10,
    KEY_BYTES = 4,
    CONTROL_LIMIT_BYTES = 127, /* RFC 6455, 5.5: 125, behind a header of two */
    PATTERN_STARTS = 65521,    /* prime, so that neighbouring messages start far apart */
    SEQUENCE_BYTES = 4,
};

/* RFC 6455, 5.2: the first byte of the frames that are known here, and what a second byte with a key has set. */
enum { BINARY = 0x82, CLOSE = 0x88, PING = 0x89, PONG = 0x8a, MASKED = 0x80 };

/* The beginning of something whose end has not come yet. */
struct piece {
    size_t length_bytes;
    uint8_t bytes[];
};

static uint8_t *pattern, reply_header[HEADER_LIMIT_BYTES];
static size_t header_bytes; /* of a reply; a request adds its key */
static size_t payload_bytes;

static inline bool prepare_pattern(long bytes)
{
    payload_bytes = (size_t)bytes;
    const size_t pattern_bytes = PATTERN_STARTS + payload_bytes;
    pattern = malloc(pattern_bytes);
    if (pattern == NULL) return false;
    uint32_t random = 2463534242;
    for (size_t i = 0; i < pattern_bytes; i++) {
        random ^= random << 13, random ^= random >> 17, random ^= random << 5;
        pattern[i] = (uint8_t)(random >> 8);
    }
    header_bytes = put_header(reply_header, BINARY, payload_bytes);
    return true;
}

static inline const uint8_t *pattern_of(uint32_t message)
{
    return pattern + (size_t)message * 40503 % PATTERN_STARTS;
}

static inline void put_sequence(uint8_t *to, uint32_t message)
{
    const uint32_t sequence = htobe32(message);
    memcpy(to, &sequence, sizeof sequence);
}

/* A client's frame around a payload that stands where it has to, behind `header_bytes` and a key. Returns how many
 * bytes it has. */
static inline size_t put_frame(uint8_t *to, uint32_t message)
{
    /* RFC 6455, 5.3 wants a key that a page's script can not foresee. No script is here; what counts is that it is not
     * zero, which would spare the server its work. */
    const uint32_t key = (message * 2654435761u) | 1;
    uint8_t *payload = to + header_bytes + KEY_BYTES;
    memcpy(to, reply_header, header_bytes);
    to[1] |= MASKED;
    memcpy(to + header_bytes, &key, KEY_BYTES);
    mask_forward(payload, payload, payload_bytes, key);
    return header_bytes + KEY_BYTES + payload_bytes;
}

/* The answer to the ping that is in `ping`. Returns how many bytes it has. */
static inline size_t put_pong(uint8_t to[CONTROL_LIMIT_BYTES + KEY_BYTES], const struct piece *ping)
{
    const uint32_t key = 0xa53cc35a;
    const size_t length_bytes = ping->bytes[1] & 0x7f; /* as it is without a key, which a compiler can not know */
    to[0] = PONG;
    to[1] = ping->bytes[1] | MASKED;
    memcpy(to + 2, &key, KEY_BYTES);
    mask_forward(to + 2 + KEY_BYTES, ping->bytes + 2, length_bytes, key);
    return 2 + KEY_BYTES + length_bytes;
}

static inline void drop_piece(struct piece **piece)
{
    free(*piece);
    *piece = NULL;
}

/* Returns how many bytes are kept now. */
static inline size_t keep(struct piece **piece, const uint8_t *bytes, size_t length_bytes)
{
    const size_t kept_bytes = *piece == NULL ? 0 : (*piece)->length_bytes;
    *piece = realloc(*piece, sizeof **piece + kept_bytes + length_bytes);
    if (*piece == NULL) {
        perror("realloc");
        exit(2);
    }
    memcpy((*piece)->bytes + kept_bytes, bytes, length_bytes);
    return (*piece)->length_bytes = kept_bytes + length_bytes;
}

enum finding { WRONG, PART, MESSAGE, CONTROL };

/* Control frames are rare and short, and so they are gathered byte by byte. */
static inline enum finding gather_control(struct piece **piece, const uint8_t **bytes, const uint8_t *end)
{
    while (*bytes < end) {
        const size_t kept_bytes = keep(piece, (*bytes)++, 1);
        if (kept_bytes < 2) continue;
        const size_t control_bytes = 2 + (size_t)(*piece)->bytes[1];
        if (control_bytes > CONTROL_LIMIT_BYTES) return WRONG;
        if (kept_bytes == control_bytes) return CONTROL;
    }
    return PART;
}

#endif
