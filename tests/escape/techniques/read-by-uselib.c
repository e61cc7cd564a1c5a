// what: map it as a library
// expect: blocked
// record: call_attempted uselib
// needs: x86_64
int main(void) {
    char path[4096];
    snprintf(path, sizeof path, "%s/key", GUARDED);
    if (syscall(134, path)) return refused("uselib");
    return escaped("uselib");
}
