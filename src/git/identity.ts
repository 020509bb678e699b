/** Whom git takes for author and committer of a commit, as variables of its environment. */
export function identityOf({ name, email }: { name: string; email: string }): Record<string, string> {
  return { GIT_AUTHOR_NAME: name, GIT_AUTHOR_EMAIL: email, GIT_COMMITTER_NAME: name, GIT_COMMITTER_EMAIL: email };
}
