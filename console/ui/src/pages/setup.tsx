import { useEffect, useState } from 'react';
import { Button, PasswordInput, TextInput } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { Link, useNavigate } from '@tanstack/react-router';
import { ask, client, Problem, queries } from '../api/client';
import { Failure, Loading, Note } from '../components/parts';
import { GateBrand } from './signin';

// Setup is where a setup link or an invitation leads. The token stands behind
// the # and so reaches no server until it is sent on purpose; it is taken out
// of the address bar and the history at once.
let token = '';

export function Setup() {
  const navigate = useNavigate();
  const [secret] = useState(() => {
    const t = window.location.hash.slice(1);
    if (t) {
      token = t;
      window.history.replaceState(null, '', '/setup');
    }
    return token;
  });
  const good = /^[A-Za-z0-9_-]{43}$/.test(secret);
  const whom = useQuery({
    queryKey: ['invitation', secret],
    enabled: good,
    retry: false,
    staleTime: Infinity,
    queryFn: () => ask(client.POST('/api/v1/setup/invitation', { body: { token: secret } })),
  });
  const [name, setName] = useState('');
  const [password, setPassword] = useState('');
  const [again, setAgain] = useState('');
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>();
  const invited = whom.data?.name ?? '';
  const length = [...password].length;

  useEffect(() => {
    document.title = 'Set up · Sallyport';
  }, []);

  const submit = async () => {
    if (again !== password) {
      setError(new Problem(0, 'The two passwords differ.'));
      return;
    }
    setBusy(true);
    setError(undefined);
    try {
      const who = await ask(client.POST('/api/v1/setup', { body: { token: secret, password, ...(invited ? {} : { name }) } }));
      token = '';
      queries.clear();
      queries.setQueryData(['me'], who);
      await navigate({ to: '/' });
    } catch (e) {
      setError(e);
    } finally {
      setBusy(false);
    }
  };

  return (
    <main className="gate">
      <div className="gate-card">
        <GateBrand title={invited ? 'Welcome to Sallyport' : 'Set up Sallyport'} />
        <div className="panel">
          {!good || whom.isError ? (
            <div className="panel-body stack">
              {good ? <Failure error={whom.error} /> : <Note kind="warn">This address lacks the token of a setup link.</Note>}
              <p className="sub">
                The first administrator needs the link that Sallyport printed when it started; restarting it prints a new one. Everyone else asks an administrator for an invitation (Settings, People).
              </p>
              <Link to="/sign-in">Go to sign-in</Link>
            </div>
          ) : whom.isPending ? (
            <Loading lines={4} />
          ) : (
            <div className="panel-body">
              <form
                onSubmit={(e) => {
                  e.preventDefault();
                  void submit();
                }}
              >
                <p className="sub">{invited ? `Choose a password for the account ${invited}.` : 'Make the first administrator. This link works once.'}</p>
                <TextInput label="Name" description={invited ? undefined : 'What you sign in with: a-z, 0-9 and . _ @ + -'} autoComplete="username" autoCapitalize="none" spellCheck={false} required withAsterisk={false} maxLength={64} autoFocus={!invited} readOnly={!!invited} value={invited || name} onChange={(e) => setName(e.currentTarget.value)} />
                <PasswordInput label="Password" description={`At least 12 characters; a few unrelated words are easy to keep in mind.${length > 0 && length < 12 ? ` ${12 - length} to go.` : ''}`} autoComplete="new-password" required withAsterisk={false} minLength={12} maxLength={128} autoFocus={!!invited} value={password} onChange={(e) => setPassword(e.currentTarget.value)} visibilityToggleButtonProps={{ 'aria-label': 'Show the password', tabIndex: 0 }} />
                <PasswordInput label="Password again" autoComplete="new-password" required withAsterisk={false} maxLength={128} value={again} onChange={(e) => setAgain(e.currentTarget.value)} visibilityToggleButtonProps={{ 'aria-label': 'Show the repeated password', tabIndex: 0 }} />
                {error !== undefined && <Failure error={error} />}
                <Button type="submit" loading={busy} fullWidth>
                  {invited ? 'Set the password' : 'Make the administrator'}
                </Button>
              </form>
            </div>
          )}
        </div>
      </div>
    </main>
  );
}
