// what: let io_uring open it
// expect: blocked
// record: call_attempted io_uring_setup
// bare: works
int main(void) {
    char params[256] = {0};
    int ring = syscall(425, 8, params);
    if (ring < 0) return refused("io_uring_setup");
    return escaped("there is a ring");
}
