// what: make a call that no kernel of today has
// expect: blocked
int main(void) {
    if (syscall(600, GUARDED) < 0) return refused("call 600");
    return escaped("call 600");
}
