import { useEffect, useState } from 'react';
import { Button, PasswordInput, TextInput } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { useNavigate } from '@tanstack/react-router';
import { ask, client, queries, useMe } from '../api/client';
import { Failure, Note } from '../components/parts';
import { signInRoute } from '../router';

export function GateBrand({ title }: { title: string }) {
  return (
    <div className="gate-brand">
      <img src="/icon.svg" alt="" />
      <div>
        <h1>{title}</h1>
        <div className="sub small">API security gateway</div>
      </div>
    </div>
  );
}

export function SignIn() {
  const { to, why } = signInRoute.useSearch();
  const navigate = useNavigate();
  const me = useMe();
  const setup = useQuery({ queryKey: ['setup'], queryFn: () => ask(client.GET('/api/v1/setup')) });
  const [name, setName] = useState('');
  const [password, setPassword] = useState('');
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>();

  useEffect(() => {
    document.title = 'Sign in · Sallyport';
  }, []);
  useEffect(() => {
    // Only a path of our own: "//host" would be another one.
    if (me.data) void navigate({ href: to && /^\/(?![/\\])/.test(to) ? to : '/', replace: true });
  }, [!!me.data]); // eslint-disable-line react-hooks/exhaustive-deps

  const submit = async () => {
    setBusy(true);
    setError(undefined);
    try {
      const who = await ask(client.POST('/api/v1/session', { body: { name, password } }));
      queries.setQueryData(['me'], who);
    } catch (e) {
      setError(e);
      setPassword('');
    } finally {
      setBusy(false);
    }
  };

  return (
    <main className="gate">
      <div className="gate-card">
        <GateBrand title="Sallyport" />
        <div className="panel">
          <div className="panel-body">
            <form
              onSubmit={(e) => {
                e.preventDefault();
                void submit();
              }}
            >
              {why === 'idle' && <Note>You were signed out because nobody used this browser for a while.</Note>}
              {setup.data?.needed && (
                <Note kind="warn">
                  No administrator exists yet. Open the setup link that Sallyport printed when it started; a restart prints a new one.
                </Note>
              )}
              <TextInput label="Name" autoComplete="username" autoCapitalize="none" spellCheck={false} required withAsterisk={false} autoFocus maxLength={64} value={name} onChange={(e) => setName(e.currentTarget.value)} />
              <PasswordInput label="Password" autoComplete="current-password" required withAsterisk={false} maxLength={128} value={password} onChange={(e) => setPassword(e.currentTarget.value)} visibilityToggleButtonProps={{ 'aria-label': 'Show the password', tabIndex: 0 }} />
              {error !== undefined && <Failure error={error} />}
              <Button type="submit" loading={busy} fullWidth>
                Sign in
              </Button>
            </form>
          </div>
        </div>
      </div>
    </main>
  );
}
