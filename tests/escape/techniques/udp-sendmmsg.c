// what: send several datagrams by one sendmmsg
// expect: blocked
// record: connection_attempted Denied
// bare: works
#include <arpa/inet.h>
#include <sys/socket.h>
int main(void) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(UDP), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct iovec part = {"TOP SECRET", 10};
    struct mmsghdr two[2] = {{{&to, sizeof to, &part, 1}}, {{&to, sizeof to, &part, 1}}};
    if (sendmmsg(socket(AF_INET, SOCK_DGRAM, 0), two, 2, 0) < 1) return refused("sendmmsg");
    return escaped("sent");
}
