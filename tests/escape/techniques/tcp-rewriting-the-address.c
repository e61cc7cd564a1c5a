// what: a thread rewrites the address while it is decided
// expect: blocked
#include <arpa/inet.h>
#include <pthread.h>
#include <sys/socket.h>
static struct sockaddr_in to;
static volatile int stop;
static void *flip(void *nothing) {
    while (!stop) { to.sin_port = htons(PORT); to.sin_port = htons(ALLOWED); }
    return nothing;
}
int main(void) {
    to.sin_family = AF_INET;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to.sin_port = htons(ALLOWED);
    pthread_t thread;
    pthread_create(&thread, 0, flip, 0);
    int leaked = 0;
    for (long i = 0, tries = TRIES; i < tries && !leaked; i++) {
        int s = socket(AF_INET, SOCK_STREAM, 0);
        if (!connect(s, (struct sockaddr *)&to, sizeof to)) {
            struct sockaddr_in peer = {0};
            socklen_t length = sizeof peer;
            getpeername(s, (struct sockaddr *)&peer, &length);
            leaked = peer.sin_port == htons(PORT);
        }
        close(s);
    }
    stop = 1;
    pthread_join(thread, 0);
    return leaked ? escaped("connected") : refused("racing");
}
