/* Addresses as text; declared in conn.h. */
#include "remoting/base/err.h"
#include "remoting/base/text.h"
#include "remoting/net/conn.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>

#define HOST_MAX 255 /* characters of a DNS name */

const char *net_addr_text(const struct sockaddr *addr)
{
    static _Thread_local char text[INET6_ADDRSTRLEN + 16];
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)addr;
    const struct sockaddr_in *in = (const struct sockaddr_in *)addr;
    char host[INET6_ADDRSTRLEN];

    if (addr->sa_family == AF_INET) {
        inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host));
        snprintf(text, sizeof(text), "%s:%u", host, ntohs(in->sin_port));
    } else if (addr->sa_family == AF_INET6) {
        inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host));
        snprintf(text, sizeof(text), "[%s]:%u", host, ntohs(in6->sin6_port));
    } else {
        snprintf(text, sizeof(text), "?");
    }
    return text;
}

/* Cuts "host:port" or "[v6 host]:port". */
static int split(const char *text, char host[HOST_MAX + 1], int *port)
{
    const char *colon = strrchr(text, ':');
    const char *from = text;
    const char *to = colon;
    int32_t number;

    if (colon == NULL || mq_str_to_i32(mq_str_of(colon + 1), &number) != 0 || number < 0 || number > 65535) {
        return MQ_EINVAL;
    }
    if (*from == '[' && to[-1] == ']') {
        from++;
        to--;
    }
    if (to <= from || to - from > HOST_MAX) {
        return MQ_EINVAL;
    }
    memcpy(host, from, (size_t)(to - from));
    host[to - from] = '\0';
    *port = number;
    return 0;
}

static int uv_code_of(int eai)
{
    switch (eai) {
    case EAI_NONAME:
        return UV_EAI_NONAME;
    case EAI_AGAIN:
        return UV_EAI_AGAIN;
    case EAI_MEMORY:
        return UV_EAI_MEMORY;
    case EAI_SYSTEM:
        return -errno;
    default:
        return UV_EAI_FAIL;
    }
}

/* The first IPv4 address of the name, since that is what brokers and clients register and print; else the first. */
static int resolve(const char *host, int port, struct sockaddr_storage *out)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *list, *pick, *ai;
    int rc = getaddrinfo(host, NULL, &hints, &list);

    if (rc != 0) {
        return uv_code_of(rc);
    }
    pick = list;
    for (ai = list; ai != NULL; ai = ai->ai_next) {
        if (ai->ai_family == AF_INET) {
            pick = ai;
            break;
        }
    }
    memcpy(out, pick->ai_addr, pick->ai_addrlen);
    if (out->ss_family == AF_INET6) {
        ((struct sockaddr_in6 *)out)->sin6_port = htons((uint16_t)port);
    } else {
        ((struct sockaddr_in *)out)->sin_port = htons((uint16_t)port);
    }
    freeaddrinfo(list);
    return 0;
}

int net_addr_parse(const char *text, struct sockaddr_storage *out)
{
    struct sockaddr_storage addr = {0};
    char host[HOST_MAX + 1];
    int port, rc;

    rc = split(text, host, &port);
    if (rc != 0) {
        return rc;
    }
    if (uv_ip4_addr(host, port, (struct sockaddr_in *)&addr) != 0 &&
        uv_ip6_addr(host, port, (struct sockaddr_in6 *)&addr) != 0) {
        rc = resolve(host, port, &addr);
    }
    if (rc == 0) {
        *out = addr;
    }
    return rc;
}
