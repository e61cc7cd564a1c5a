// what: a thread rewrites the path of a removal while it is decided
// expect: blocked
#include <pthread.h>
static char path[4096], good[4096], bad[4096];
static volatile int stop;
static void *flip(void *nothing) {
    while (!stop) { memcpy(path, bad, sizeof path); memcpy(path, good, sizeof path); }
    return nothing;
}
int main(void) {
    snprintf(good, sizeof good, "%s/public", WORK);
    snprintf(bad, sizeof bad, "%s/key", GUARDED);
    strcpy(path, good);
    pthread_t thread;
    pthread_create(&thread, 0, flip, 0);
    int gone = 0;
    for (long i = 0, tries = TRIES; i < tries && !gone; i++) {
        close(open(good, O_CREAT | O_WRONLY, 0644));
        unlink(path);
        gone = access(bad, F_OK) != 0;
    }
    stop = 1;
    pthread_join(thread, 0);
    return gone ? escaped("removed") : refused("racing");
}
