// what: a thread turns a symbolic link while it is decided
// expect: blocked
#include <pthread.h>
static char path[4096];
static volatile int stop;
static char bad[4096];
static void *flip(void *nothing) {
    while (!stop) {
        unlink("l1"); symlink(bad, "l1"); rename("l1", "turned");
        unlink("l2"); symlink("public", "l2"); rename("l2", "turned");
    }
    return nothing;
}
int main(void) {
    snprintf(bad, sizeof bad, "%s/key", GUARDED);
    close(open("public", O_CREAT | O_WRONLY, 0644));
    strcpy(path, "turned");
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
