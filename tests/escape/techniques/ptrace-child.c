// what: be traced by its parent
// expect: blocked
// record: call_attempted ptrace
// bare: works
#include <sys/ptrace.h>
int main(void) { return ptrace(PTRACE_TRACEME, 0, 0, 0) ? refused("ptrace") : escaped("traced"); }
