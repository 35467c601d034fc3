/* gaufre completion SHELL: a completion script made from the command table. */
#include <stdio.h>
#include <string.h>

#include "cmd/cmd.h"

static void print_words(const char *words)
{
    for (; *words; words++)
        putchar(*words == '|' ? ' ' : *words);
}

/* Does the option take a word or a file? Options of serve are plain texts in its table, but their
 * argument names tell. */
static int wants_word(const struct opt *o)
{
    return o->arg && strchr(o->arg, '|') != NULL;
}

static int wants_file(const struct opt *o)
{
    return o->arg && !strcmp(o->arg, "FILE");
}

/* The first positional's words: "new|hash" of "new|hash FILE ID"; 0 when it is something else. */
static int first_words(const struct cmd *c)
{
    int n = c->args ? (int)strcspn(c->args, " ") : 0;

    return n && memchr(c->args, '|', (size_t)n) && c->args[0] != '[' ? n : 0;
}

static void print_first_words(const struct cmd *c)
{
    for (int i = 0; i < first_words(c); i++)
        putchar(c->args[i] == '|' ? ' ' : c->args[i]);
}

/* ---- bash ---- */

static void bash_values(const struct opt *o)
{
    if (o->kind == OPT_KIND_FLAG)
        return;
    printf("        --%s", o->name);
    if (o->letter)
        printf("|-%c", o->letter);
    if (wants_file(o)) {
        puts(") _gaufre_files; return ;;");
        return;
    }
    fputs(") COMPREPLY=(", stdout);
    if (wants_word(o)) {
        fputs("$(compgen -W '", stdout);
        print_words(o->arg);
        fputs("' -- \"$cur\")", stdout);
    }
    puts("); return ;;");
}

static void bash_command(const struct cmd *c)
{
    printf("    %s)\n        case $prev in\n", c->name);
    for (const struct opt *o = c->opts; o && o->kind; o++)
        bash_values(o);
    fputs("        esac\n        words='", stdout);
    for (const struct opt *o = c->opts; o && o->kind; o++)
        printf("--%s ", o->name);
    puts("--help'");
    if (c->complete == CMD_COMPLETE_MODEL)
        puts("        [[ $cur == -* ]] || { words=$(gaufre list --names 2>/dev/null); "
             "files=1; }");
    else if (c->complete == CMD_COMPLETE_FILE)
        puts("        [[ $cur == -* ]] || { words=; files=1; }");
    if (first_words(c)) {
        fputs("        [[ $cur == -* ]] || ((COMP_CWORD > 2)) || { words='", stdout);
        print_first_words(c);
        puts("'; files=; }");
    }
    puts("        ;;");
}

static void print_bash(void)
{
    puts("# bash completion for gaufre; made by 'gaufre completion bash'\n"
         "_gaufre_files()\n{\n"
         "    mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -f -- \"$cur\")\n}\n"
         "_gaufre()\n{\n"
         "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} words= files=\n"
         "    COMPREPLY=()\n"
         "    # --name=value is three words here\n"
         "    if [[ $cur == = ]]; then\n        cur=\n"
         "    elif [[ $prev == = ]]; then\n        prev=${COMP_WORDS[COMP_CWORD-2]}\n    fi\n"
         "    if ((COMP_CWORD == 1)); then");
    fputs("        COMPREPLY=($(compgen -W '", stdout);
    for (const struct cmd *const *c = cmd_table; *c; c++)
        printf("%s ", (*c)->name);
    puts("--help --version' -- \"$cur\"))\n        return\n    fi\n"
         "    case ${COMP_WORDS[1]} in");
    for (const struct cmd *const *c = cmd_table; *c; c++)
        bash_command(*c);
    puts("    esac\n"
         "    COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
         "    if [[ $files ]]; then _gaufre_files; fi\n"
         "}\ncomplete -o filenames -F _gaufre gaufre");
}

/* ---- zsh ---- */

/* Help text inside '...[text]': brackets, colons and quotes mean something there. */
static void zsh_text(const char *s)
{
    for (; *s; s++) {
        if (*s == '\'')
            fputs("'\\''", stdout);
        else if (strchr("[]:\\", *s))
            printf("\\%c", *s);
        else
            putchar(*s);
    }
}

/* One spelling of an option: "--name=" or "-n". */
static void zsh_spelling(const struct opt *o, const char *name)
{
    printf("            '%s%s[", o->kind == OPT_KIND_STRS ? "*" : "", name);
    zsh_text(o->help);
    putchar(']');
    if (wants_file(o)) {
        fputs(":file:_files", stdout);
    } else if (wants_word(o)) {
        fputs(":value:(", stdout);
        print_words(o->arg);
        putchar(')');
    } else if (o->kind != OPT_KIND_FLAG) {
        putchar(':');
        zsh_text(o->arg);
        fputs(": ", stdout);
    }
    puts("' \\");
}

static void zsh_option(const struct opt *o)
{
    char name[80];

    snprintf(name, sizeof name, "--%s%s", o->name, o->kind == OPT_KIND_FLAG ? "" : "=");
    zsh_spelling(o, name);
    snprintf(name, sizeof name, "-%c%s", o->letter, o->kind == OPT_KIND_FLAG ? "" : "+");
    if (o->letter)
        zsh_spelling(o, name);
}

static void print_zsh(void)
{
    puts("#compdef gaufre\n# zsh completion for gaufre; made by 'gaufre completion zsh'\n"
         "_gaufre_models() { compadd -- ${(f)\"$(gaufre list --names 2>/dev/null)\"}; _files }\n"
         "_gaufre() {\n"
         "    if (( CURRENT == 2 )); then\n"
         "        local -a commands\n        commands=(");
    for (const struct cmd *const *c = cmd_table; *c; c++) {
        printf("            '%s:", (*c)->name);
        zsh_text((*c)->help);
        puts("'");
    }
    puts("        )\n        _describe command commands\n        return\n    fi\n"
         "    local command=$words[2]\n    shift words\n    (( CURRENT-- ))\n"
         "    case $command in");
    for (const struct cmd *const *c = cmd_table; *c; c++) {
        printf("    %s)\n        _arguments \\\n", (*c)->name);
        for (const struct opt *o = (*c)->opts; o && o->kind; o++)
            zsh_option(o);
        puts("            '--help[print help]' \\");
        if (first_words(*c)) {
            fputs("            ':what:(", stdout);
            print_first_words(*c);
            puts(")' \\");
        }
        if ((*c)->complete == CMD_COMPLETE_MODEL)
            puts("            '*:model:_gaufre_models'");
        else
            puts("            '*:file:_files'");
        puts("        ;;");
    }
    puts("    esac\n}\nif [[ $funcstack[1] = _gaufre ]]; then _gaufre \"$@\"; else "
         "compdef _gaufre gaufre; fi");
}

/* ---- fish ---- */

static void fish_text(const char *s)
{
    for (; *s; s++) {
        if (*s == '\'' || *s == '\\')
            putchar('\\');
        putchar(*s);
    }
}

static void fish_option(const struct cmd *c, const struct opt *o)
{
    printf("complete -c gaufre -n '__fish_seen_subcommand_from %s' -l %s", c->name, o->name);
    if (o->letter)
        printf(" -s %c", o->letter);
    if (wants_file(o)) {
        fputs(" -r -F", stdout);
    } else if (wants_word(o)) {
        fputs(" -x -a '", stdout);
        print_words(o->arg);
        putchar('\'');
    } else if (o->kind != OPT_KIND_FLAG) {
        fputs(" -x", stdout);
    }
    fputs(" -d '", stdout);
    fish_text(o->help);
    puts("'");
}

static void print_fish(void)
{
    puts("# fish completion for gaufre; made by 'gaufre completion fish'");
    for (const struct cmd *const *c = cmd_table; *c; c++) {
        printf("complete -c gaufre -f -n __fish_use_subcommand -a %s -d '", (*c)->name);
        fish_text((*c)->help);
        puts("'");
    }
    for (const struct cmd *const *c = cmd_table; *c; c++) {
        for (const struct opt *o = (*c)->opts; o && o->kind; o++)
            fish_option(*c, o);
        if ((*c)->complete == CMD_COMPLETE_MODEL)
            printf("complete -c gaufre -n '__fish_seen_subcommand_from %s' "
                   "-a '(gaufre list --names 2>/dev/null)'\n",
                   (*c)->name);
        if (first_words(*c)) {
            printf("complete -c gaufre -f -n '__fish_seen_subcommand_from %s' -a '", (*c)->name);
            print_first_words(*c);
            puts("'");
        }
    }
}

static int completion_run(const struct cmd *c, void *opts, int argc, char **argv)
{
    if (!strcmp(argv[0], "bash"))
        print_bash();
    else if (!strcmp(argv[0], "zsh"))
        print_zsh();
    else if (!strcmp(argv[0], "fish"))
        print_fish();
    else
        return cmd_usage(c, "no completion for '%s': the shells are bash, zsh and fish", argv[0]);
    return CMD_OK;
}

const struct cmd cmd_completion = {
    .name = "completion",
    .help = "Print a shell completion script",
    .args = "bash|zsh|fish",
    .about = "Try it at once:  source <(gaufre completion bash)\n"
             "'make install' puts all three where the shells look.",
    .n_args_min = 1,
    .n_args_max = 1,
    .run = completion_run,
};
