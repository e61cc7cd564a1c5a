// what: a thread rewrites the path while it is decided
// expect: blocked
#include <pthread.h>
static char path[4096];
static volatile int stop;
static char good[4096], bad[4096];
static void *flip(void *nothing) {
    while (!stop) { memcpy(path, bad, sizeof path); memcpy(path, good, sizeof path); }
    return nothing;
}
int main(void) {
    snprintf(good, sizeof good, "%s/public", WORK);
    snprintf(bad, sizeof bad, "%s/key", GUARDED);
    close(open(good, O_CREAT | O_WRONLY, 0644));
    strcpy(path, good);
    pthread_t thread;
    pthread_create(&thread, 0, flip, 0);
    int leaked = 0;
    for (long i = 0, tries = TRIES; i < tries && !leaked; i++) {
        int file = open(path, O_RDONLY);
        if (file < 0) continue;
        char text[16] = {0};
        if (read(file, text, 15) > 0 && strstr(text, "SECRET")) leaked = 1;
        close(file);
    }
    stop = 1;
    pthread_join(thread, 0);
    return leaked ? escaped("TOP SECRET") : refused("racing");
}
