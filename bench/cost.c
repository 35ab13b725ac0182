/* Runs a program and writes down what it took: seconds of the processor, kernel included, its own as wait4(2) tells them and
 * those of the server that it talks to.
 *
 *     cost SERVER_PID FILE COMMAND [ARGUMENT ...]
 *
 * The line of JSON goes to FILE, since the program's own output is its own. The status is the program's. */
#define _GNU_SOURCE

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "program.h"

static double in_seconds(struct timeval time) { return (double)time.tv_sec + (double)time.tv_usec * 1e-6; }

static pid_t start(char **command)
{
    const pid_t parent = getpid(), child = fork();
    if (child < 0) die("fork");
    if (child > 0) return child;
    /* A signal that ends this program ends the other one too. */
    if (prctl(PR_SET_PDEATHSIG, SIGTERM) != 0 || getppid() != parent) _exit(2);
    execvp(command[0], command);
    die(command[0]);
    return 0;
}

int main(int count, char **arguments)
{
    clockid_t server_clock;
    if (count < 4) {
        fputs("usage: cost SERVER_PID FILE COMMAND [ARGUMENT ...]\n", stderr);
        return 2;
    }
    if ((errno = clock_getcpuclockid((pid_t)atol(arguments[1]), &server_clock)) != 0) die("clock of the server");
    const uint64_t server_before = read_clock_ns(server_clock);
    const pid_t child = start(arguments + 3);
    struct rusage usage;
    int status;
    if (wait4(child, &status, 0, &usage) != child) die("wait4");
    const uint64_t server_after = read_clock_ns(server_clock);
    FILE *file = fopen(arguments[2], "w");
    if (file == NULL) die(arguments[2]);
    fprintf(file, "{\"user_seconds\":%.6f,\"sys_seconds\":%.6f,\"server_seconds\":%.9f}\n", in_seconds(usage.ru_utime),
            in_seconds(usage.ru_stime), (double)(server_after - server_before) * 1e-9);
    if (fclose(file) != 0) die(arguments[2]);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
