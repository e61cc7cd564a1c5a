// what: trace another process
// expect: blocked
// record: call_attempted ptrace
#include <sys/ptrace.h>
int main(void) { return ptrace(PTRACE_ATTACH, getppid(), 0, 0) ? refused("ptrace") : escaped("traced"); }
