/* What the C programs of this folder know of RFC 6455: how a frame begins (5.2) and how it is masked (5.3). */
#ifndef STEADFAST_BENCH_WIRE_H
#define STEADFAST_BENCH_WIRE_H

#include <endian.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* 5.2: the first byte of a frame has FIN, three bits and the opcode; the second one has MASKED if a key follows. */
enum { FIN = 0x80, RESERVED = 0x70, OPCODE = 0x0f, TEXT = 0x1, BINARY = 0x2, CLOSE = 0x8, PING = 0x9, PONG = 0xa };
enum { MASKED = 0x80 };

/* Sixteen bytes is the widest that every x86-64 and every ARMv8 has without asking the processor first, so that the
 * same `cc -O2` yields the same instructions on every machine of a kind. A frame's payload is aligned to nothing. */
typedef uint64_t wide __attribute__((vector_size(16), aligned(1), may_alias));

enum { STRIDE_WORDS = 8, STRIDE_BYTES = STRIDE_WORDS * sizeof(wide) };

/* `to` may lie at or before `from`, never behind it: each word is loaded before any later one is stored. That is what
 * lets a server unmask a frame to where its reply, whose header is four bytes shorter, has to stand. */
static inline void mask_forward(uint8_t *to, const uint8_t *from, size_t length_bytes, uint32_t key)
{
    const uint64_t key_twice = (uint64_t)key << 32 | key;
    const wide key_wide = {key_twice, key_twice};

    for (; length_bytes >= STRIDE_BYTES; length_bytes -= STRIDE_BYTES, from += STRIDE_BYTES, to += STRIDE_BYTES) {
        const wide *source = (const wide *)from;
        wide *target = (wide *)to;
        /* Written out, because -O2 unrolls nothing and a loop here would cost as much as the masking itself. */
        target[0] = source[0] ^ key_wide;
        target[1] = source[1] ^ key_wide;
        target[2] = source[2] ^ key_wide;
        target[3] = source[3] ^ key_wide;
        target[4] = source[4] ^ key_wide;
        target[5] = source[5] ^ key_wide;
        target[6] = source[6] ^ key_wide;
        target[7] = source[7] ^ key_wide;
    }
    for (; length_bytes >= sizeof(wide); length_bytes -= sizeof(wide), from += sizeof(wide), to += sizeof(wide))
        *(wide *)to = *(const wide *)from ^ key_wide;
    for (; length_bytes >= sizeof key; length_bytes -= sizeof key, from += sizeof key, to += sizeof key) {
        uint32_t word;
        memcpy(&word, from, sizeof word);
        word ^= key;
        memcpy(to, &word, sizeof word);
    }
    /* Only whole words were taken so far, so the key starts again at its first byte, whatever the byte order. */
    uint8_t key_bytes[sizeof key];
    memcpy(key_bytes, &key, sizeof key);
    for (size_t i = 0; i < length_bytes; i++) to[i] = from[i] ^ key_bytes[i];
}

/* The first bytes of a frame, without a key. Returns how many they are. */
static inline size_t put_header(uint8_t *to, uint8_t first, uint64_t payload_bytes)
{
    to[0] = first;
    if (payload_bytes < 126) {
        to[1] = (uint8_t)payload_bytes;
        return 2;
    }
    if (payload_bytes < 65536) {
        uint16_t length = htobe16((uint16_t)payload_bytes);
        to[1] = 126;
        memcpy(to + 2, &length, sizeof length);
        return 4;
    }
    uint64_t length = htobe64(payload_bytes);
    to[1] = 127;
    memcpy(to + 2, &length, sizeof length);
    return 10;
}

#endif
