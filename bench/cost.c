/* Runs a program and writes down what it took: seconds by the wall and of the processor, kernel included, its own as
 * wait4(2) tells them and, beside it, those of the server that it talks to.
 *
 *     cost [--server-pid PID] FILE COMMAND [ARGUMENT ...]
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
    pid_t server = 0;
    char **rest = arguments + 1;
    if (count > 2 && strcmp(rest[0], "--server-pid") == 0) {
        server = (pid_t)atol(rest[1]);
        rest += 2;
    }
    if (arguments + count - rest < 2) {
        fputs("usage: cost [--server-pid PID] FILE COMMAND [ARGUMENT ...]\n", stderr);
        return 2;
    }
    clockid_t server_clock = CLOCK_MONOTONIC;
    if (server != 0 && (errno = clock_getcpuclockid(server, &server_clock)) != 0) die("clock of the server");
    const uint64_t server_before = read_clock_ns(server_clock), wall_before = read_clock_ns(CLOCK_MONOTONIC);
    const pid_t child = start(rest + 1);
    struct rusage usage;
    int status;
    if (wait4(child, &status, 0, &usage) != child) die("wait4");
    const uint64_t wall_after = read_clock_ns(CLOCK_MONOTONIC), server_after = read_clock_ns(server_clock);
    FILE *file = fopen(rest[0], "w");
    if (file == NULL) die(rest[0]);
    fprintf(file, "{\"wall_seconds\":%.6f,\"user_seconds\":%.6f,\"sys_seconds\":%.6f,\"server_seconds\":",
            (double)(wall_after - wall_before) * 1e-9, in_seconds(usage.ru_utime), in_seconds(usage.ru_stime));
    if (server != 0)
        fprintf(file, "%.9f}\n", (double)(server_after - server_before) * 1e-9);
    else
        fputs("null}\n", file);
    if (fclose(file) != 0) die(rest[0]);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
