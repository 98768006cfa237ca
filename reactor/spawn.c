/*
 * How it works: posix_spawn, whose child shares our memory until it has become the program, so that
 * starting one costs the same however large we are, and it tells why it could not. What the child
 * does before that is a list of actions: its standard descriptors, its directory, then all other
 * descriptors but the passed ones are closed, as Python does, since not all that a C program has
 * open is marked as close-on-exec.
 *
 * A source that has the number of another's target would be overwritten on the way: it is moved out
 * of the way before.
 */
#include "private_child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <unistd.h>

extern char **environ;

static bool is_passed(const struct cora_subprocess_options *options, int descriptor)
{
    for (size_t i = 0; i < options->pass_fd_count; i++)
        if (options->pass_fds[i] == descriptor)
            return true;
    return false;
}

/* The actions for the child's standard descriptors. 0 or an error. */
static int add_standard(posix_spawn_file_actions_t *actions, const int standard[3])
{
    int error = 0;
    for (int target = 0; target < 3 && !error; target++) {
        int source = standard[target] == SPAWN_TO_STDOUT ? STDOUT_FILENO : standard[target];
        if (source != SPAWN_INHERIT)
            error = posix_spawn_file_actions_adddup2(actions, source, target);
    }
    return error;
}

/* All but the standard and the passed descriptors are closed; those stay open in the program. */
static int add_closes(posix_spawn_file_actions_t *actions,
                      const struct cora_subprocess_options *options)
{
    int error = 0, last = 2;
    for (size_t i = 0; i < options->pass_fd_count && !error; i++) {
        int passed = options->pass_fds[i];
        last = passed > last ? passed : last;
        error = posix_spawn_file_actions_adddup2(actions, passed, passed);
    }
    if (options->inherit_fds)
        return error;
    for (int descriptor = 3; descriptor < last && !error; descriptor++)
        if (!is_passed(options, descriptor))
            error = posix_spawn_file_actions_addclose(actions, descriptor);
    return error ? error : posix_spawn_file_actions_addclosefrom_np(actions, last + 1);
}

static int add_actions(posix_spawn_file_actions_t *actions,
                       const struct cora_subprocess_options *options, const int standard[3])
{
    int error = add_standard(actions, standard);
    if (!error && options->cwd)
        error = posix_spawn_file_actions_addchdir_np(actions, options->cwd);
    return error ? error : add_closes(actions, options);
}

/* Session, group and signals: none is blocked, and SIGPIPE ends it, as every program expects. */
static int set_attributes(posix_spawnattr_t *attributes,
                          const struct cora_subprocess_options *options)
{
    short flags = 0;
    sigset_t set;
    int error = 0;
    if (!options->keep_signals) {
        flags = POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK;
        sigemptyset(&set);
        error = posix_spawnattr_setsigmask(attributes, &set);
        sigaddset(&set, SIGPIPE);
        sigaddset(&set, SIGXFSZ);
        if (!error)
            error = posix_spawnattr_setsigdefault(attributes, &set);
    }
    if (options->start_new_session)
        flags = (short)(flags | POSIX_SPAWN_SETSID);
    if (options->process_group) {
        flags = (short)(flags | POSIX_SPAWN_SETPGROUP);
        pid_t group =
            options->process_group == CORA_SUBPROCESS_NEW_GROUP ? 0 : options->process_group;
        if (!error)
            error = posix_spawnattr_setpgroup(attributes, group);
    }
    return error ? error : posix_spawnattr_setflags(attributes, flags);
}

/* Starts it. 0 or an error. */
static int spawn_with(const char *const *arguments, const struct cora_subprocess_options *options,
                      const int standard[3], pid_t *ret_pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    int error = posix_spawn_file_actions_init(&actions);
    if (error)
        return error;
    error = posix_spawnattr_init(&attributes);
    if (error) {
        posix_spawn_file_actions_destroy(&actions);
        return error;
    }
    const char *file = options->executable ? options->executable : arguments[0];
    char *const *words = (char *const *)(uintptr_t)arguments;
    char *const *env = options->env ? (char *const *)(uintptr_t)options->env : environ;
    error = add_actions(&actions, options, standard);
    if (!error)
        error = set_attributes(&attributes, options);
    if (!error)
        error = posix_spawnp(ret_pid, file, &actions, &attributes, words, env);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return error;
}

/* Why there is no such program, or directory. */
static int spawn_failed(const char *const *arguments, const struct cora_subprocess_options *options,
                        int error)
{
    const char *name = options->executable ? options->executable : arguments[0];
    if (error == ENOMEM)
        return fail_with(memory_error());
    if (options->cwd && access(options->cwd, X_OK) < 0)
        name = options->cwd;
    return fail(-error, "%s", name);
}

int spawn(const char *const *arguments, const struct cora_subprocess_options *options,
          const int standard[3], pid_t *ret_pid)
{
    int sources[3], moved[3], error = 0;
    for (int i = 0; i < 3; i++) {
        bool in_the_way = standard[i] >= 0 && standard[i] < 3 && standard[i] != i;
        moved[i] = in_the_way && !error ? fcntl(standard[i], F_DUPFD_CLOEXEC, 3) : -1;
        if (in_the_way && moved[i] < 0 && !error)
            error = errno;
        sources[i] = moved[i] >= 0 ? moved[i] : standard[i];
    }
    if (!error)
        error = spawn_with(arguments, options, sources, ret_pid);
    for (int i = 0; i < 3; i++)
        if (moved[i] >= 0)
            close(moved[i]);
    return error ? spawn_failed(arguments, options, error) : 0;
}
