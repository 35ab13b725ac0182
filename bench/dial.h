/* How one of many connections becomes an open WebSocket, without ever blocking. */
#ifndef STEADFAST_BENCH_DIAL_H
#define STEADFAST_BENCH_DIAL_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "program.h"
#include "stream.h"

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

enum { HEAD_LIMIT_BYTES = 4096, SOURCE_ADDRESSES = 250 };

enum state { UNBORN, CONNECTING, ANSWERING, READY, GONE };

enum answer { ANSWER_PART, ANSWER_WHOLE, ANSWER_WRONG, ANSWER_LOST };

static char upgrade[1024];

static inline bool write_upgrade(const char *path, long port)
{
    const int length =
        snprintf(upgrade, sizeof upgrade,
                 "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%ld\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
                 path, port);
    if (length < (int)sizeof upgrade) return true;
    fprintf(stderr, "%s: a longer path than that is not for this program\n", program_invocation_short_name);
    return false;
}

static inline struct sockaddr_in server_address(long port)
{
    return (struct sockaddr_in){AF_INET, htons((uint16_t)port), {htonl(INADDR_LOOPBACK)}, {0}};
}

/* Returns what went wrong, or NULL; there is a descriptor in any case. A receive buffer of 0 bytes is the kernel's. */
static inline const char *dial(int *descriptor, size_t number, long port, int receive_buffer_bytes)
{
    int yes = 1;
    struct sockaddr_in target = server_address(port);
    /* Every address of 127.0.0.0/8 is ours, and each has ports of its own for one target. With the option the kernel
     * chooses a port at connect, when it knows the target, instead of at bind, where it would have to be free for all
     * targets. */
    struct sockaddr_in source = {AF_INET, 0, {htonl(INADDR_LOOPBACK + 1 + (uint32_t)(number % SOURCE_ADDRESSES))}, {0}};
    *descriptor = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (*descriptor < 0) die("socket");
    setsockopt(*descriptor, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    setsockopt(*descriptor, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof yes);
    /* Before connect, or the window that is offered is not that of this buffer. */
    if (receive_buffer_bytes > 0)
        setsockopt(*descriptor, SOL_SOCKET, SO_RCVBUF, &receive_buffer_bytes, sizeof receive_buffer_bytes);
    if (bind(*descriptor, (struct sockaddr *)&source, sizeof source) != 0) die("bind");
    if (connect(*descriptor, (struct sockaddr *)&target, sizeof target) == 0 || errno == EINPROGRESS) return NULL;
    return strerror(errno);
}

/* When the socket says that it is connected, or is not. Returns what went wrong, or NULL. */
static inline const char *send_upgrade(int descriptor)
{
    int error = 0;
    socklen_t length_bytes = sizeof error;
    getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &error, &length_bytes);
    if (error != 0) return strerror(error);
    const ssize_t upgrade_bytes = (ssize_t)strlen(upgrade);
    if (send(descriptor, upgrade, (size_t)upgrade_bytes, MSG_NOSIGNAL) == upgrade_bytes) return NULL;
    return "an empty socket did not take the handshake";
}

/* The key of every handshake here is RFC 6455's own example (1.3), and with it the answer that it gives. */
static inline const char *head_fault(const char *head, size_t length_bytes)
{
    if (length_bytes < 13 || memcmp(head, "HTTP/1.1 101 ", 13) != 0) return "the handshake was refused";
    const char *end = memmem(head, length_bytes, "\r\n\r\n", 4);
    if (end == NULL) return "an answer to the handshake without an end";
    if (end != head + length_bytes - 4) return "bytes behind the answer to the handshake";
    if (memmem(head, length_bytes, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n", 30) == NULL) return "a wrong accept value";
    return NULL;
}

/* Gathers the answer to the handshake in `piece`, where it is left when it is whole. */
static inline enum answer read_answer(int descriptor, struct piece **piece, uint8_t *buffer, size_t buffer_bytes,
                                      const char **cause)
{
    const ssize_t got = recv(descriptor, buffer, buffer_bytes, 0);
    if (got < 0 && errno == EAGAIN) return ANSWER_PART;
    *cause = got == 0 ? "the server closed" : strerror(errno);
    if (got <= 0) return ANSWER_LOST;
    const size_t length_bytes = keep(piece, buffer, (size_t)got);
    const char *head = (const char *)(*piece)->bytes;
    if (memmem(head, length_bytes, "\r\n\r\n", 4) == NULL && length_bytes < HEAD_LIMIT_BYTES) return ANSWER_PART;
    *cause = head_fault(head, length_bytes);
    return *cause == NULL ? ANSWER_WHOLE : ANSWER_WRONG;
}

/* Reset, so that no port stays in TIME_WAIT behind each of them. */
static inline void close_at_once(int descriptor)
{
    const struct linger reset = {.l_onoff = 1, .l_linger = 0};
    setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    close(descriptor);
}

#endif
