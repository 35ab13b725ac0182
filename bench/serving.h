/* What the bare servers share: a listener, and of RFC 6455 the handshake (4.2.2), with its real SHA-1, and how a client's
 * frame begins (5.2). */
#ifndef STEADFAST_BENCH_SERVING_H
#define STEADFAST_BENCH_SERVING_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <strings.h>
#include <sys/socket.h>

#include "program.h"
#include "wire.h"

enum { KEY_CHARS = 24, ACCEPT_CHARS = 28, HEAD_LIMIT_BYTES = 16 * 1024 };

static uint32_t rotate(uint32_t word, int bits) { return word << bits | word >> (32 - bits); }

/* FIPS 180-4, 6.1.2. */
static void sha1_block(uint32_t hash[5], const uint8_t block[64])
{
    uint32_t schedule[80];
    memcpy(schedule, block, 64);
    for (int t = 0; t < 16; t++) schedule[t] = be32toh(schedule[t]);
    for (int t = 16; t < 80; t++)
        schedule[t] = rotate(schedule[t - 3] ^ schedule[t - 8] ^ schedule[t - 14] ^ schedule[t - 16], 1);

    uint32_t a = hash[0], b = hash[1], c = hash[2], d = hash[3], e = hash[4];
#define ROUNDS(from, to, mix, constant)                                         \
    for (int t = from; t < to; t++) {                                           \
        uint32_t next = rotate(a, 5) + (mix) + e + (constant) + schedule[t];    \
        e = d, d = c, c = rotate(b, 30), b = a, a = next;                       \
    }
    ROUNDS(0, 20, (b & c) ^ (~b & d), 0x5a827999)
    ROUNDS(20, 40, b ^ c ^ d, 0x6ed9eba1)
    ROUNDS(40, 60, (b & c) ^ (b & d) ^ (c & d), 0x8f1bbcdc)
    ROUNDS(60, 80, b ^ c ^ d, 0xca62c1d6)
#undef ROUNDS
    hash[0] += a, hash[1] += b, hash[2] += c, hash[3] += d, hash[4] += e;
}

/* RFC 6455, 4.2.2, 5.4: the client's key and the protocol's GUID are sixty bytes together, so SHA-1's padding is the
 * same for every handshake and its length, 480 bits, with it. */
static void accept_value(char accepted[ACCEPT_CHARS], const uint8_t key[KEY_CHARS])
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    uint8_t message[128] = {0};
    memcpy(message, key, KEY_CHARS);
    memcpy(message + KEY_CHARS, guid, sizeof guid - 1);
    message[60] = 0x80;
    message[126] = 480 >> 8, message[127] = 480 & 0xff;

    uint32_t hash[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    sha1_block(hash, message);
    sha1_block(hash, message + 64);
    uint8_t digest[21] = {0};
    for (int i = 0; i < 5; i++) hash[i] = htobe32(hash[i]);
    memcpy(digest, hash, 20);

    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (int i = 0, o = 0; i < 21; i += 3, o += 4) {
        uint32_t group = (uint32_t)digest[i] << 16 | digest[i + 1] << 8 | digest[i + 2];
        for (int digit = 0; digit < 4; digit++) accepted[o + digit] = digits[group >> (18 - 6 * digit) & 63];
    }
    accepted[ACCEPT_CHARS - 1] = '=';
}

/* Writes the answer to a handshake, also over the request that holds the key. Returns how many bytes it has. */
static size_t put_upgrade(uint8_t *to, const uint8_t *key)
{
    static const char upgrade[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                  "Sec-WebSocket-Accept: ............................\r\n\r\n";
    char accepted[ACCEPT_CHARS];
    accept_value(accepted, key);
    memcpy(to, upgrade, sizeof upgrade - 1);
    memcpy(to + sizeof upgrade - 1 - 4 - ACCEPT_CHARS, accepted, ACCEPT_CHARS);
    return sizeof upgrade - 1;
}

/* The value of the key's field, or NULL. RFC 9110, 5.1: field names do not care about case. */
static const uint8_t *find_key(const uint8_t *head, size_t head_bytes)
{
    static const char name[] = "Sec-WebSocket-Key:";
    const uint8_t *end = head + head_bytes;
    for (const uint8_t *line = head; (line = memchr(line, '\n', (size_t)(end - line))) != NULL;) {
        line++;
        if ((size_t)(end - line) < sizeof name - 1 + KEY_CHARS + 4) return NULL;
        if ((line[0] | 0x20) != 's' || strncasecmp((const char *)line, name, sizeof name - 1) != 0) continue;
        const uint8_t *value = line + sizeof name - 1;
        while (*value == ' ' || *value == '\t') value++;
        return end - value > KEY_CHARS && value[KEY_CHARS] == '\r' ? value : NULL;
    }
    return NULL;
}

struct header {
    uint64_t payload_bytes; /* not the length while header_bytes is 0, but never above 127 then */
    size_t header_bytes;    /* 0: not all of it is there */
};

/* RFC 6455, 5.2. A client's header always carries a key. */
static struct header read_header(const uint8_t *frame, size_t available_bytes)
{
    struct header header = {0};
    if (available_bytes < 6) return header;
    header.payload_bytes = frame[1] & 0x7f;
    if (header.payload_bytes < 126) {
        header.header_bytes = 6;
    } else if (header.payload_bytes == 126 && available_bytes >= 8) {
        uint16_t length;
        memcpy(&length, frame + 2, sizeof length);
        header.payload_bytes = be16toh(length);
        header.header_bytes = 8;
    } else if (header.payload_bytes == 127 && available_bytes >= 14) {
        uint64_t length;
        memcpy(&length, frame + 2, sizeof length);
        header.payload_bytes = be64toh(length);
        header.header_bytes = 14;
    }
    return header;
}

static int open_listener(long port, bool shares_port)
{
    int yes = 1;
    struct sockaddr_in address = {AF_INET, htons((uint16_t)port), {htonl(INADDR_LOOPBACK)}, {0}};
    const int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    /* Linux passes a listener's TCP_NODELAY on to the connections that it accepts, which saves a call for each. */
    setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    /* Alone it would only hide that another process has the port. */
    if (shares_port) setsockopt(listener, SOL_SOCKET, SO_REUSEPORT, &yes, sizeof yes);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0) die("bind");
    if (listen(listener, SOMAXCONN) != 0) die("listen");
    return listener;
}

static void block_stop_signals(sigset_t *stopping)
{
    sigemptyset(stopping);
    sigaddset(stopping, SIGTERM);
    sigaddset(stopping, SIGINT);
    pthread_sigmask(SIG_BLOCK, stopping, NULL);
}

#endif
