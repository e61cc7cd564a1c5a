// Stands before every technique in C: names of what is out of reach, and words for what came of it.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#define WORK getenv("WORK")
#define GUARDED getenv("GUARDED")
#define PORT atoi(getenv("PORT"))
#define UDP atoi(getenv("UDP"))
#define TRIES atol(getenv("TRIES"))
#define ALLOWED atoi(getenv("ALLOWED"))
__attribute__((unused)) static int refused(const char *what) { printf("REFUSED %s: %m\n", what); return 3; }
__attribute__((unused)) static int escaped(const char *how) { printf("ESCAPED %s\n", how); return 0; }
__attribute__((unused)) static int leak_from(int file) {
    char text[64] = {0};
    if (file < 0 || read(file, text, 63) <= 0) return refused("read");
    return strstr(text, "TOP SECRET") ? escaped(text) : refused("nothing to be read");
}
