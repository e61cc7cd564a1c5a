// what: a thread exchanges a folder for a link to the guarded one while it is decided
// expect: blocked
#include <pthread.h>
static char path[4096];
static volatile int stop;
static void *flip(void *nothing) {
    while (!stop) syscall(SYS_renameat2, AT_FDCWD, "here", AT_FDCWD, "there", 2);
    return nothing;
}
int main(void) {
    mkdir("here", 0755);
    close(open("here/key", O_CREAT | O_WRONLY, 0644));
    symlink(GUARDED, "there");
    strcpy(path, "here/key");
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
