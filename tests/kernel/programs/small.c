/* Built as a static and as a 32-bit program. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/utsname.h>
#include <unistd.h>

int main(int argc, char **argv) {
	struct utsname name;
	struct stat info;
	char line[64] = "";
	if (argc < 2 || uname(&name) || stat("/etc", &info)) return 1;
	FILE *file = fopen(argv[1], "w");
	if (!file || fputs("hello\n", file) < 0 || fclose(file)) return 2;
	file = fopen(argv[1], "r");
	if (!file || !fgets(line, sizeof line, file) || strcmp(line, "hello\n")) return 3;
	fclose(file);
	if (unlink(argv[1])) return 4;
	printf("%d bits\n", (int)sizeof(long) * 8);
	return 0;
}
