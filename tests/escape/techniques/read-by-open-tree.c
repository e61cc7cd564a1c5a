// what: clone its mount with open_tree
// expect: blocked
// record: call_attempted open_tree
// bare: works
int main(void) {
    int tree = syscall(428, AT_FDCWD, GUARDED, 1);
    if (tree < 0) return refused("open_tree");
    return leak_from(openat(tree, "key", O_RDONLY));
}
