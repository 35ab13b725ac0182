/* What a receiver of fanout has to get, and the comparison with it, wherever the stream was cut. */
#ifndef STEADFAST_BENCH_FANOUT_CHECK_H
#define STEADFAST_BENCH_FANOUT_CHECK_H

#include <stdbool.h>
#include <stdlib.h>

#include "fanout_plan.h"
#include "wire.h"

enum {
    HEADER_LIMIT_BYTES = 10,
    KEY_BYTES = 4,
    CONTROL_LIMIT_BYTES = 127, /* RFC 6455, 5.5: 125, behind a header of two */
    PATTERN_STARTS = 65521,    /* prime, so that neighbouring messages start far apart */
};

/* RFC 6455, 5.2: the first byte of the frames that are known here, and what a second byte with a key has set. */
enum { BINARY = 0x82, PING = 0x89, PONG = 0x8a, MASKED = 0x80 };

/* The beginning of something whose end has not come yet. */
struct piece {
    size_t length_bytes;
    uint8_t bytes[];
};

struct receiver {
    uint32_t next_message, done_bytes; /* of that message's frame */
    struct piece *piece;               /* of a ping, or of the answer to the handshake */
};

enum finding { WRONG, PART, MESSAGE, PINGED };

static uint8_t *pattern, reply_header[HEADER_LIMIT_BYTES];
static size_t header_bytes; /* of a reply; a request adds its key */

static bool prepare_check(void)
{
    const size_t pattern_bytes = PATTERN_STARTS + (size_t)plan.payload_bytes;
    pattern = malloc(pattern_bytes);
    if (pattern == NULL) return false;
    uint32_t random = 2463534242;
    for (size_t i = 0; i < pattern_bytes; i++) {
        random ^= random << 13, random ^= random >> 17, random ^= random << 5;
        pattern[i] = (uint8_t)(random >> 8);
    }
    header_bytes = put_header(reply_header, BINARY, (uint64_t)plan.payload_bytes);
    return true;
}

static const uint8_t *pattern_of(uint32_t message) { return pattern + (size_t)message * 40503 % PATTERN_STARTS; }

static void put_sequence(uint8_t *to, uint32_t message)
{
    const uint32_t sequence = htobe32(message);
    memcpy(to, &sequence, sizeof sequence);
}

/* The publisher's frame. Returns how many bytes it has. */
static size_t put_request(uint8_t *to, uint32_t message)
{
    /* RFC 6455, 5.3 wants a key that a page's script can not foresee. No script is here; what counts is that it is not
     * zero, which would spare the server its work. */
    const uint32_t key = (message * 2654435761u) | 1;
    uint8_t *payload = to + header_bytes + KEY_BYTES;
    memcpy(to, reply_header, header_bytes);
    to[1] |= MASKED;
    memcpy(to + header_bytes, &key, KEY_BYTES);
    put_sequence(payload, message);
    memcpy(payload + SEQUENCE_BYTES, pattern_of(message), (size_t)plan.payload_bytes - SEQUENCE_BYTES);
    mask_forward(payload, payload, (size_t)plan.payload_bytes, key);
    return header_bytes + KEY_BYTES + (size_t)plan.payload_bytes;
}

/* The answer to the ping that is in `piece`. Returns how many bytes it has. */
static size_t put_pong(uint8_t to[CONTROL_LIMIT_BYTES + KEY_BYTES], const struct piece *ping)
{
    const uint32_t key = 0xa53cc35a;
    to[0] = PONG;
    to[1] = ping->bytes[1] | MASKED;
    memcpy(to + 2, &key, KEY_BYTES);
    mask_forward(to + 2 + KEY_BYTES, ping->bytes + 2, ping->bytes[1], key);
    return 2 + KEY_BYTES + (size_t)ping->bytes[1];
}

static void drop_piece(struct receiver *receiver)
{
    free(receiver->piece);
    receiver->piece = NULL;
}

/* Returns how many bytes are kept now. */
static size_t keep(struct receiver *receiver, const uint8_t *bytes, size_t length_bytes)
{
    const size_t kept_bytes = receiver->piece == NULL ? 0 : receiver->piece->length_bytes;
    receiver->piece = realloc(receiver->piece, sizeof *receiver->piece + kept_bytes + length_bytes);
    if (receiver->piece == NULL) {
        perror("realloc");
        exit(2);
    }
    memcpy(receiver->piece->bytes + kept_bytes, bytes, length_bytes);
    return receiver->piece->length_bytes = kept_bytes + length_bytes;
}

/* Pings are rare and short, and so they are gathered byte by byte. */
static enum finding check_ping(struct receiver *receiver, const uint8_t **bytes, const uint8_t *end)
{
    while (*bytes < end) {
        const size_t kept_bytes = keep(receiver, (*bytes)++, 1);
        if (kept_bytes < 2) continue;
        const size_t ping_bytes = 2 + (size_t)receiver->piece->bytes[1];
        if (ping_bytes > CONTROL_LIMIT_BYTES) return WRONG;
        if (kept_bytes == ping_bytes) return PINGED;
    }
    return PART;
}

/* Looks at the next message or ping, or at what is there of it, and puts `bytes` behind that. What has to come is known
 * to the byte, headers included: RFC 6455, 5.2 allows one way to write a length. So it is compared as it arrives. */
static enum finding check(struct receiver *receiver, const uint8_t **bytes, const uint8_t *end, uint32_t sent_messages)
{
    const size_t head_bytes = header_bytes + SEQUENCE_BYTES;
    const size_t frame_bytes = header_bytes + (size_t)plan.payload_bytes;
    if (receiver->piece != NULL || (receiver->done_bytes == 0 && **bytes == PING))
        return check_ping(receiver, bytes, end);
    if (receiver->next_message >= sent_messages) return WRONG;

    uint8_t head[HEADER_LIMIT_BYTES + SEQUENCE_BYTES];
    memcpy(head, reply_header, header_bytes);
    put_sequence(head + header_bytes, receiver->next_message);
    while (*bytes < end && receiver->done_bytes < frame_bytes) {
        const size_t done_bytes = receiver->done_bytes, there_bytes = (size_t)(end - *bytes);
        const bool in_head = done_bytes < head_bytes;
        size_t length_bytes = (in_head ? head_bytes : frame_bytes) - done_bytes;
        if (length_bytes > there_bytes) length_bytes = there_bytes;
        const uint8_t *expected =
            in_head ? head + done_bytes : pattern_of(receiver->next_message) + done_bytes - head_bytes;
        if (memcmp(*bytes, expected, length_bytes) != 0) return WRONG;
        *bytes += length_bytes;
        receiver->done_bytes += (uint32_t)length_bytes;
    }
    if (receiver->done_bytes < frame_bytes) return PART;
    receiver->done_bytes = 0;
    receiver->next_message++;
    return MESSAGE;
}

/* The key of every handshake here is RFC 6455's own example (1.3), and with it the answer that it gives. */
static const char *head_fault(const char *head, size_t length_bytes)
{
    if (length_bytes < 13 || memcmp(head, "HTTP/1.1 101 ", 13) != 0) return "the handshake was refused";
    const char *end = memmem(head, length_bytes, "\r\n\r\n", 4);
    if (end == NULL) return "an answer to the handshake without an end";
    if (end != head + length_bytes - 4) return "bytes behind the answer to the handshake";
    if (memmem(head, length_bytes, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n", 30) == NULL) return "a wrong accept value";
    return NULL;
}

#endif
